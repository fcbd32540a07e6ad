// A picture, and the objects found in it: boxes over the picture, and a list of them. Each stands out when it is pointed at, tapped, or
// reached with the keyboard; a slider says from which score on boxes are shown.

import { ask, make, number, percent, say, show, state } from "/kit.js";
import * as picture from "/forms/picture.js";

export const words = {
  en: {
    ...picture.words.en, run: "Find objects", found: (count) => `${count} ${count === 1 ? "object" : "objects"}`, none: "No objects",
    from: (share) => `Shown from a score of ${share}`, slider: "Least score shown",
    drawn: (count) => `The picture with ${count} ${count === 1 ? "box" : "boxes"}`,
  },
  zh: {
    ...picture.words.zh, run: "找出物体", found: (count) => `找到 ${count} 个物体`, none: "没有找到物体",
    from: (share) => `显示分数不低于 ${share} 的框`, slider: "显示的最低分数",
    drawn: (count) => `图片与 ${count} 个框`,
  },
};

export const { textless, ready, request, fields, exampleText, drawExample, useExample, curl, snippet } = picture;

const LEAST = 0.05; // what scores less is not asked for
const COLOURS = 8; // of style.css: .hue-0 …

export async function run(signal) {
  const body = request();
  const answer = await ask({ ...body, threshold: Math.min(LEAST, state.release.choices.threshold) }, signal);
  const named = numbered(answer.detections);
  const shown = named.filter(({ score }) => score >= state.release.choices.threshold);
  const text = shown.map(({ label, score, box }) => [label, score, box.left, box.top, box.right, box.bottom].join("\t")).join("\n");
  show(text, ...drawn(body.input.image_url.url, answer, named));
  return shown.length ? { request: body, output: shown[0].name, outputs: named.map(({ name }) => name) } : null;
}

// Each detection by its label and its place among those of it: “cat 2” is the second best cat.
function numbered(detections) {
  const counts = new Map();
  return detections.map((detection) => {
    const count = (counts.get(detection.label) ?? 0) + 1;
    counts.set(detection.label, count);
    return { ...detection, name: `${detection.label} ${count}` };
  });
}

function drawn(url, { width, height, frames }, detections) {
  const verdict = make("p", { class: "verdict" });
  const list = make("ul", { class: "objects" });
  const layer = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "boxes", "aria-hidden": "true" });
  const image = make("img", { src: url, alt: say("shown") });
  const figure = make("figure", { class: "detected" }, image, layer);
  figure.style.aspectRatio = `${width} / ${height}`;
  const pairs = detections.map((detection) => pair(detection, Math.max(width, height) / 320));
  const slider = make("input", { type: "range", min: LEAST, max: "0.95", step: "0.01", id: "least", "aria-label": say("slider") });
  const told = make("output", { for: "least", class: "note plain" });
  const choose = () => {
    const kept = pairs.filter(({ score }) => score >= Number(slider.value));
    layer.replaceChildren(...[...kept].sort((a, b) => b.area - a.area).map(({ box }) => box)); // small ones can be reached
    list.replaceChildren(...kept.map(({ item }) => item));
    verdict.textContent = kept.length ? say("found")(number(kept.length)) : say("none");
    image.alt = say("drawn")(number(kept.length));
    told.textContent = say("from")(Number(slider.value).toFixed(2));
  };
  slider.value = state.release.choices.threshold;
  slider.addEventListener("input", choose);
  choose();
  const notes = frames ? [make("p", { class: "note" }, say("frames")(number(frames)))] : [];
  return [make("div", { class: "looked" }, figure, make("div", {}, verdict, ...notes, told, slider, list))];
}

// A box on the picture and its line in the list, each of which lights the other up.
function pair({ name, label, score, box: { left, top, right, bottom } }, unit) {
  const hue = `hue-${state.release.choices.labels.indexOf(label) % COLOURS}`;
  const frame = svg("rect", { x: left, y: top, width: right - left, height: bottom - top });
  const title = svg("text", { x: left + 2 * unit, y: Math.max(top - 3 * unit, 10 * unit), "font-size": 10 * unit });
  title.textContent = label;
  const box = svg("g", { class: hue }, frame, title);
  const button = make("button", { type: "button", class: hue, "aria-pressed": "false" }, make("span", {}, name), make("small", {}, percent(score, 0)));
  const item = make("li", {}, button);
  const light = (on) => box.classList.toggle("lit", on);
  for (const [begins, ends] of [["pointerenter", "pointerleave"], ["focus", "blur"]]) {
    for (const each of begins === "focus" ? [button] : [button, frame]) {
      each.addEventListener(begins, () => light(true));
      each.addEventListener(ends, () => light(button.getAttribute("aria-pressed") === "true"));
    }
  }
  const toggle = () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    light(on);
  };
  button.addEventListener("click", toggle);
  frame.addEventListener("click", toggle);
  return { box, item, score, area: (right - left) * (bottom - top) };
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
