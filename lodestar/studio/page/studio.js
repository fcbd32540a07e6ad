// What a page of the studio cannot do by itself: keep its live parts fresh while something runs, and save its pictures.
// Every page reads without this. It knows no language: its words stand in the data attributes of <main>.

const main = document.getElementById("content");

// Live parts

const ASK_EVERY = 4000; // ms between two questions whether somebody is at work
const FRESHEN_EVERY = 2000; // ms between two new drawings while somebody is
let running = null;
let stale = null;

async function ask(address) {
  const answer = await fetch(address, { headers: { "X-Requested-With": "studio" }, redirect: "error" });
  if (!answer.ok) throw new Error(answer.status);
  return answer;
}

// The page as it is now; each live element takes the place of the one with its id, unless somebody is at it.
async function freshen() {
  const text = await (await ask(location.href)).text();
  const page = new DOMParser().parseFromString(text, "text/html");
  for (const old of document.querySelectorAll("[data-live][id]")) {
    const fresh = page.getElementById(old.id);
    if (fresh === null || old.contains(document.activeElement) || old.outerHTML === fresh.outerHTML) continue;
    const taken = document.importNode(fresh, true);
    old.replaceWith(taken);
    offer(taken);
  }
}

async function look() {
  let wait = ASK_EVERY;
  if (!document.hidden) {
    const begun = performance.now();
    try {
      const before = running;
      running = (await (await ask("/api/now")).json()).running;
      if (running !== null || before !== null) await freshen();
      tellStale(false);
      // A page that takes long to draw is asked for less often.
      if (running !== null) wait = Math.max(FRESHEN_EVERY, 5 * (performance.now() - begun));
    } catch {
      tellStale(true);
    }
  }
  setTimeout(look, wait);
}

function tellStale(isStale) {
  if (isStale && stale === null) {
    stale = document.createElement("p");
    stale.className = "stale";
    stale.setAttribute("role", "status");
    stale.textContent = main.dataset.stale;
    main.prepend(stale);
  } else if (!isStale && stale !== null) {
    stale.remove();
    stale = null;
  }
}

// Pictures

const DRAWN = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linecap", "stroke-linejoin",
  "opacity", "font-family", "font-size", "font-weight", "font-style", "letter-spacing", "text-anchor", "dominant-baseline", "display",
  "visibility"];
const SHARPNESS = 2; // pixels of a saved picture for one of the screen

// A drawing that looks the same without this page's style sheet.
function alone(svg) {
  const copy = svg.cloneNode(true);
  const originals = [svg, ...svg.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((element, number) => {
    const style = getComputedStyle(originals[number]);
    for (const name of DRAWN) element.style.setProperty(name, style.getPropertyValue(name));
  });
  const { width, height } = svg.getBoundingClientRect();
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  return { text: new XMLSerializer().serializeToString(copy), width, height };
}

function rasterized({ text, width, height }) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = Math.ceil(width * SHARPNESS);
      canvas.height = Math.ceil(height * SHARPNESS);
      const pen = canvas.getContext("2d");
      pen.fillStyle = "#ffffff";
      pen.fillRect(0, 0, canvas.width, canvas.height);
      pen.drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob(resolve, "image/png");
    };
    image.onerror = reject;
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  });
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function nameOf(picture) {
  const caption = picture.closest("figure")?.querySelector("figcaption") ?? picture.querySelector("title");
  const words = caption?.textContent || picture.getAttribute("aria-label") || picture.getAttribute("alt") || document.title;
  return words.trim().toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "picture";
}

function button(kind, label, action) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "plain";
  made.textContent = kind;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", action);
  return made;
}

// A way to save each picture below `root`.
function offer(root) {
  const pictures = [...root.querySelectorAll("svg.plot, figure svg, figure img")];
  if (root.matches("svg.plot")) pictures.push(root);
  for (const picture of pictures) {
    if (picture.parentElement.closest("svg") || picture.nextElementSibling?.classList.contains("save")) continue;
    const line = document.createElement("span");
    line.className = "save";
    const label = `${main.dataset.save}: ${nameOf(picture)}`;
    if (picture.tagName === "IMG") {
      line.append(button(main.dataset.save, label, async () => {
        const blob = await (await fetch(picture.src)).blob();
        save(blob, `${nameOf(picture)}.${blob.type.split("/")[1].replace("svg+xml", "svg")}`);
      }));
    } else {
      line.append(
        button(`${main.dataset.save} (PNG)`, `${label} (PNG)`, async () => save(await rasterized(alone(picture)), `${nameOf(picture)}.png`)),
        button("SVG", `${label} (SVG)`, () => save(new Blob([alone(picture).text], { type: "image/svg+xml" }), `${nameOf(picture)}.svg`)),
      );
    }
    picture.after(line);
  }
}

// The board: a card that is dropped on a column does what its own button does; what it waits for is asked first.

const MOVES = { open: "open", started: "start", blocked: "block", done: "done" };

function drop(event, lane) {
  event.preventDefault();
  lane.classList.remove("is-over");
  const card = document.querySelector(`.card[data-task="${CSS.escape(event.dataTransfer.getData("text/plain"))}"]`);
  if (card === null || lane.contains(card)) return;
  const why = card.querySelector("details");
  if (MOVES[lane.dataset.state] === "block") {
    if (why === null) return;
    why.open = true;
    why.querySelector("input[name=because]").focus();
  } else {
    card.querySelector(`button[name=action][value=${MOVES[lane.dataset.state]}]`)?.click();
  }
}

function board() {
  for (const card of document.querySelectorAll(".board .card:has(form)")) {
    card.draggable = true;
    card.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/plain", card.dataset.task));
  }
  for (const lane of document.querySelectorAll(".board .lane")) {
    lane.addEventListener("dragover", (event) => {
      event.preventDefault();
      lane.classList.add("is-over");
    });
    lane.addEventListener("dragleave", () => lane.classList.remove("is-over"));
    lane.addEventListener("drop", (event) => drop(event, lane));
  }
}

board();
offer(main);
if (document.querySelector("[data-live]") !== null) setTimeout(look, FRESHEN_EVERY);
