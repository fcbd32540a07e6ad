// Why the model answered so: the words that the answer rests on, the attention of every layer and head, and whether to believe any of it.
//
// The server draws; here it is asked, and a layer and a head are chosen. The drawing stands in a shadow root, with its own style sheet.

import { byId, call, make, say, state } from "/kit.js";

let explained = null; // what a form gives: the `request`, the `output` that it was answered with, and the `outputs` that could be asked about
let working = null; // the request under way
let picture = null; // the shadow root

// Offer to explain an answer; null takes the offer back.
export function offer(answered) {
  close();
  explained = state.release.explains ? answered ?? null : null;
  byId("why").hidden = !explained;
}

function close() {
  working?.abort();
  byId("explanation").hidden = true;
  byId("why").setAttribute("aria-expanded", "false");
}

function open() {
  byId("explanation").hidden = false;
  byId("why").setAttribute("aria-expanded", "true");
  byId("explained-output").replaceChildren(...outputField());
  explain();
}

// The reader's language has changed: the sentences are the server's.
export function translated() {
  if (!byId("explanation").hidden) open();
}

// Of labels, and of texts that are compared, any other can be asked about, too.
function outputField() {
  if (!explained.outputs) return [];
  const select = make("select", { id: "output" });
  select.append(...explained.outputs.map((output) => new Option(output, output, false, output === explained.output)));
  select.addEventListener("change", () => {
    explained = { ...explained, output: select.value };
    explain();
  });
  return [make("span", { class: "choice" }, make("label", { for: "output" }, say("whyLabel")), select)];
}

async function ask(more, draw) {
  working?.abort();
  const own = working = new AbortController();
  byId("explanation").setAttribute("aria-busy", "true");
  tell(say("explaining"));
  try {
    const { request, output } = explained;
    const body = { request, ...(output !== undefined && { output }), language: state.language, html: true, ...more };
    draw(await (await call("/v1/explain", body, own.signal)).json());
    tell("");
  } catch (error) {
    if (error.name !== "AbortError") tell(error.message, true);
  } finally {
    if (working === own) byId("explanation").setAttribute("aria-busy", "false");
  }
}

function tell(message, wrong = false) {
  byId("explanation-status").textContent = message;
  byId("explanation-status").className = wrong ? "error" : "stats";
}

function explain() {
  picture?.replaceChildren();
  return ask({}, ({ html, css, layers, heads }) => {
    picture ??= shadow(css);
    picture.replaceChildren(fragment(html));
    const maps = picture.querySelector(".maps");
    maps.before(choice(layers, heads, (chosen) => ask({ ...chosen, only: "attention" }, (answer) => maps.replaceChildren(fragment(answer.html)))));
  });
}

function shadow(css) {
  const root = byId("explanation-picture").attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet(); // a <style> of its own is what the page's security policy forbids
  sheet.replaceSync(css);
  root.adoptedStyleSheets = [sheet];
  return root;
}

// Our own server's markup, in which it has escaped every text.
function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

// A field for the layer and one for the head; a head of the small maps can be pointed at, too.
function choice(layers, heads, changed) {
  const field = (name, count) => {
    const select = make("select", { id: name });
    select.append(new Option(say("every"), ""), ...Array.from({ length: count }, (_, at) => new Option(String(at + 1))));
    select.addEventListener("change", tellChanged);
    return select;
  };
  const tellChanged = () => {
    const chosen = Object.entries({ layer: layer.value, head: head.value }).filter(([, value]) => value);
    changed(Object.fromEntries(chosen.map(([name, value]) => [name, Number(value)])));
  };
  const layer = field("layer", layers), head = field("head", heads);
  picture.querySelector(".maps").addEventListener("click", ({ target }) => {
    const { layer: inLayer, head: ofHead } = target.dataset;
    if (!inLayer) return;
    [layer.value, head.value] = [inLayer, ofHead];
    tellChanged();
  });
  return make("p", { class: "choice" }, make("label", { for: "layer" }, say("layer")), layer, make("label", { for: "head" }, say("head")), head);
}

byId("why").addEventListener("click", () => (byId("explanation").hidden ? open() : close()));
byId("close-explanation").addEventListener("click", () => {
  close();
  byId("why").focus();
});
