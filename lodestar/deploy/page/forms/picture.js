// A picture that is chosen, dropped, pasted or taken with a phone's camera, and the share of each label.

import { ask, byId, make, number, percent, say, show, state } from "/kit.js";
import { bar } from "/forms/classify.js";

export const words = {
  en: {
    label: "Your picture", placeholder: "", run: "Look at it", nothing: "Choose a picture first.",
    choose: "Choose a picture", photograph: "Take a photo", drop: "or drop one here, or paste it", shown: "The picture that you chose",
    frames: (count) => `The picture moves: the first of its ${count} frames was read.`,
    others: (count) => `and ${count} more`,
    facts: (parameters, context) => `${parameters} parameters · reads a picture as ${context} patches`,
  },
  zh: {
    label: "你的图片", placeholder: "", run: "看一看", nothing: "请先选一张图片。",
    choose: "选择图片", photograph: "拍照", drop: "也可以拖到这里，或直接粘贴", shown: "所选的图片",
    frames: (count) => `这是动图：读取了 ${count} 帧中的第一帧。`,
    others: (count) => `另有 ${count} 个`,
    facts: (parameters, context) => `${parameters}个参数 · 每张图片读作 ${context} 个图块`,
  },
};

export const textless = true;
const SHOWN = 8; // labels with a bar
const SENT_BYTES = 2e6, SENT_SIDE = 1600; // a larger file is sent smaller: no model here reads more of it
let chosen = null; // the picture as a data: URL

export const ready = () => chosen !== null;
export const request = () => ({ input: { type: "image_url", image_url: { url: chosen ?? "data:image/png;base64,…" } } });

export function fields() {
  const preview = make("img", { id: "preview", alt: "", hidden: "" });
  const zone = make(
    "div", { class: "drop", id: "drop" }, preview,
    make("div", { class: "ways" },
      picker("file", {}, "choose"), picker("camera", { capture: "environment" }, "photograph"),
      make("span", { class: "held", "data-say": "drop" })),
  );
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => take([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
  return [zone];
}

function picker(id, attributes, name) {
  const input = make("input", { type: "file", id, accept: "image/*", class: "file", ...attributes });
  input.addEventListener("change", () => {
    take(input.files[0]);
    input.value = ""; // the same file may be chosen again
  });
  return make("label", { class: `choose ${id}` }, make("span", { "data-say": name }), input);
}

async function take(file) {
  if (file) hold(await addressOf(file));
}

export const chosenUrl = () => chosen;

export function hold(url) {
  chosen = url;
  byId("preview").src = url;
  byId("preview").alt = say("shown");
  byId("preview").hidden = false;
  byId("ask").dispatchEvent(new Event("input")); // the code to ask with changes
}

export const read = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => resolve(reader.result));
  reader.addEventListener("error", () => reject(reader.error));
  reader.readAsDataURL(blob);
});

async function addressOf(file) {
  if (file.size <= SENT_BYTES) return read(file);
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, SENT_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = make("canvas");
    [canvas.width, canvas.height] = [Math.round(bitmap.width * scale), Math.round(bitmap.height * scale)];
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/jpeg", 0.92);
  } catch {
    return read(file); // what the browser cannot read either, the server tells
  }
}

export const exampleText = (example) => example.input.image_url.url;
export const drawExample = (example) => make("img", { src: exampleText(example), alt: say("shown"), class: "thumbnail" });
export const useExample = (example) => hold(exampleText(example));

export async function run(signal) {
  const body = request();
  const answer = await ask(body, signal);
  const shares = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
  const bars = shares.slice(0, SHOWN).map(([label, share]) => bar(label, share, label === answer.label));
  const notes = [
    ...(answer.frames ? [make("p", { class: "note" }, say("frames")(number(answer.frames)))] : []),
    ...(shares.length > SHOWN ? [make("p", { class: "note below" }, say("others")(number(shares.length - SHOWN)))] : []),
  ];
  const text = shares.map(([label, share]) => `${label}\t${share}`).join("\n");
  const verdict = make("p", { class: "verdict" }, answer.label, make("small", {}, percent(shares[0][1])));
  const seen = make("img", { src: body.input.image_url.url, alt: say("shown"), class: "seen" });
  show(text, make("div", { class: "looked" }, seen, make("div", {}, verdict, make("ul", { class: "bars labels" }, ...bars), ...notes)));
  return { request: body, output: answer.label, outputs: shares.map(([label]) => label) };
}

export function curl({ origin, key }) {
  const authorization = key ? ' \\\n  -H "Authorization: Bearer $LODESTAR_API_KEY"' : "";
  const body = '{"input": {"type": "image_url", "image_url": {"url": "data:image/png;base64,$(base64 < picture.png | tr -d \'\\n\')"}}}';
  return `curl ${origin}/v1/${state.release.endpoint} -H 'Content-Type: application/json'${authorization} -d @- <<JSON\n${body}\nJSON`;
}

export function snippet(_body, { origin, key, head }) {
  const authorization = state.key ? `, "Authorization": "Bearer " + ${key}` : "";
  return `${head}import base64\nimport json\nimport urllib.request\nfrom pathlib import Path\n\npicture = base64.b64encode(Path("picture.png").read_bytes()).decode()\nbody = {"input": {"type": "image_url", "image_url": {"url": "data:image/png;base64," + picture}}}\nrequest = urllib.request.Request(\n    "${origin}/v1/${state.release.endpoint}",\n    data=json.dumps(body).encode(),\n    headers={"Content-Type": "application/json"${authorization}},\n)\nprint(json.load(urllib.request.urlopen(request)))`;
}
