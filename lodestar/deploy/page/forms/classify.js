// A text, and the share of each label.

import { ask, byId, make, percent, show } from "/kit.js";

export const words = {
  en: { label: "Your text", placeholder: "Paste or write a text…", run: "Classify" },
  zh: { label: "你的文本", placeholder: "粘贴或输入一段文本……", run: "分类" },
};

export const exampleText = (example) => example.input;
export const request = () => ({ input: byId("input").value });

export async function run(signal) {
  const answer = await ask(request(), signal);
  const shares = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
  const text = shares.map(([label, share]) => `${label}\t${share}`).join("\n");
  show(text, make("p", { class: "verdict" }, answer.label), make("ul", { class: "bars" }, ...shares.map(([label, share]) => bar(label, share))));
}

function bar(label, share) {
  const fill = make("span", { class: "fill" });
  fill.style.width = `${100 * share}%`;
  return make("li", {},
    make("span", { class: "label" }, label), make("span", { class: "track", "aria-hidden": "true" }, fill), make("span", { class: "share" }, percent(share)));
}
