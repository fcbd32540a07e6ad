// What is to be shown, a label or a text, and the pictures of it, which come out of the noise step by step.

import { byId, call, events, make, number, say, show, showStats, state } from "/kit.js";

export const words = {
  en: {
    label: "What shall it show?", placeholder: "Describe the picture…", run: "Draw", nothing: "Say what is to be shown.",
    what: "What to show", count: "How many", steps: "Steps", guidance: "Guidance",
    guidanceHelp: "How strictly a picture keeps to what is asked for: higher is clearer and less varied.",
    under: (step, steps) => `Step ${step} of ${steps}`, save: "Download", picture: (prompt, place) => `Picture ${place}: ${prompt}`,
    facts: (parameters, context) => `${parameters} parameters · writes a picture as ${context} patches`,
    working: "Drawing…", answer: "Pictures",
  },
  zh: {
    label: "要画什么？", placeholder: "描述一下图片……", run: "画", nothing: "请先说明要画什么。",
    what: "画什么", count: "张数", steps: "步数", guidance: "引导强度",
    guidanceHelp: "图片与要求贴合的程度：越高越清晰，变化越少。",
    under: (step, steps) => `第 ${step} 步，共 ${steps} 步`, save: "下载", picture: (prompt, place) => `图 ${place}：${prompt}`,
    facts: (parameters, context) => `${parameters}个参数 · 一张图片写作 ${context} 个图块`,
    working: "作画中……", answer: "图片",
  },
};

const SMALL = 128; // pixels a side: a picture below this is shown larger, with whole pixels
const SHOWN_STEPS = 24; // pictures on the way, at most

export let textless = false; // where labels are chosen from

const labels = () => state.release.choices.labels;
const prompt = () => (labels().length ? byId("prompt").value : byId("input").value.trim());
export const exampleText = (example) => example.prompt;
export const ready = () => Boolean(prompt());
export const request = () => {
  const given = ["seed", "steps", "guidance"].map((name) => [name, byId(`picture-${name}`).value]).filter(([, value]) => value !== "");
  return { prompt: prompt(), n: Number(byId("picture-count").value), ...Object.fromEntries(given.map(([name, value]) => [name, Number(value)])) };
};

export function useExample(example) {
  if (labels().length) byId("prompt").value = example.prompt;
}

export function fields() {
  const { most, steps, guidance } = state.release.choices;
  textless = labels().length > 0;
  const field = (name, control) => make("span", { class: "choice" }, make("label", { for: control.id, "data-say": name }), control);
  const counts = Array.from({ length: most }, (_, place) => make("option", place === 3 ? { selected: "" } : {}, String(place + 1)));
  const numeric = (name, attributes) => make("input", { id: `picture-${name}`, type: "number", ...attributes });
  return [
    ...(textless ? [field("what", make("select", { id: "prompt" }, ...labels().map((label) => make("option", {}, label))))] : []),
    field("count", make("select", { id: "picture-count" }, ...counts)),
    field("seed", numeric("seed", { min: 0, step: 1, "data-say-placeholder": "seedRandom", placeholder: say("seedRandom") })),
    field("steps", numeric("steps", { min: 1, max: 250, step: 1, value: steps, required: "" })),
    field("guidance", numeric("guidance", { min: 1, max: 20, step: 0.1, value: guidance, required: "", "aria-describedby": "guidance-help" })),
    make("p", { id: "guidance-help", class: "help wide", "data-say": "guidanceHelp" }, say("guidanceHelp")),
  ];
}

export async function run(signal) {
  const wrong = ["seed", "steps", "guidance"].map((name) => byId(`picture-${name}`)).find((field) => !field.checkValidity());
  if (wrong) {
    wrong.reportValidity();
    return null;
  }
  const body = request();
  const tiles = Array.from({ length: body.n }, (_, place) => tile(body.prompt, place + 1));
  const progress = make("progress", { max: body.steps, value: 0 });
  const status = make("span", { class: "help" });
  const way = make("div", { class: "way" }, progress, status);
  show(JSON.stringify(body), make("div", { class: "made" }, ...tiles.map(({ figure }) => figure)), way);
  const asked = { ...body, stream: true, partial_images: Math.min(body.steps - 1, SHOWN_STEPS) };
  for await (const event of events(await call(`/v1/${state.release.endpoint}`, asked, signal))) {
    const { image, link } = tiles[event.index];
    image.src = `data:image/${event.output_format};base64,${event.b64_json}`;
    if (event.type === "image_generation.partial_image") {
      progress.value = event.step;
      status.textContent = say("under")(number(event.step), number(event.steps));
      continue;
    }
    image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < SMALL), { once: true });
    image.classList.add("done");
    link.href = image.src;
    link.download = `${body.prompt.replace(/[^\p{Letter}\p{Number}]+/gu, "-").slice(0, 40)}-${event.seed}-${event.index + 1}.${event.output_format}`;
    link.hidden = false;
    state.answerId = event.id;
    state.stats.seed = event.seed;
    state.answerText = JSON.stringify({ ...body, seed: event.seed });
  }
  way.remove();
  state.stats.last = performance.now();
  showStats();
  return null;
}

function tile(prompt, place) {
  const image = make("img", { alt: say("picture")(prompt, place), class: "small" });
  const link = make("a", { class: "note plain", hidden: "" }, say("save"));
  return { image, link, figure: make("figure", {}, image, make("figcaption", {}, link)) };
}

export function snippet({ prompt: what, n, ...ours }, { origin, key, head }) {
  return `${head}import base64\nfrom pathlib import Path\n\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${origin}/v1", api_key=${key})\nanswer = client.images.generate(\n    prompt=${JSON.stringify(what)},\n    n=${n},\n    extra_body=${JSON.stringify(ours)},\n)\nfor number, picture in enumerate(answer.data, 1):\n    Path(f"picture-{number}.png").write_bytes(base64.b64decode(picture.b64_json))`;
}
