// A text, and the share of each label; of several labels, those that reach their thresholds, which are marked.

import { ask, byId, make, percent, say, show } from "/kit.js";

export const words = {
  en: {
    label: "Your text", placeholder: "Paste or write a text…", run: "Classify",
    unsure: "No label", why: "The model is less sure than it has to be.", none: "No label applies", reaches: (share) => `given from ${share}`,
  },
  zh: {
    label: "你的文本", placeholder: "粘贴或输入一段文本……", run: "分类",
    unsure: "不打标签", why: "模型的把握低于要求。", none: "没有适用的标签", reaches: (share) => `${share} 起给出`,
  },
};

export const exampleText = (example) => example.input;
export const request = () => ({ input: byId("input").value });

export async function run(signal) {
  const body = request();
  const answer = await ask(body, signal);
  const shares = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
  const text = shares.map(([label, share]) => `${label}\t${share}`).join("\n");
  const thresholds = answer.thresholds ?? {};
  const given = new Set(answer.labels ?? (answer.label === null ? [] : [answer.label]));
  const bars = shares.map(([label, share]) => bar(label, share, given.has(label), thresholds[label]));
  show(text, ...verdict(answer), make("ul", { class: "bars labels" }, ...bars));
  return { request: body, output: shares[0][0], outputs: shares.map(([label]) => label) };
}

function verdict(answer) {
  if (answer.labels) return [make("p", { class: "verdict" }, answer.labels.join(" · ") || say("none"))];
  if (answer.label === null) return [make("p", { class: "verdict" }, say("unsure")), make("p", { class: "note" }, say("why"))];
  return [make("p", { class: "verdict" }, answer.label)];
}

export function bar(label, share, given, threshold) {
  const fill = make("span", { class: given ? "fill given" : "fill" });
  fill.style.width = `${100 * share}%`;
  const track = make("span", { class: "track", "aria-hidden": "true" }, fill);
  if (threshold <= 1) {
    const mark = make("span", { class: "threshold", title: say("reaches")(percent(threshold)) });
    mark.style.left = `${100 * threshold}%`;
    track.append(mark);
  }
  return make("li", {}, make("span", { class: "label" }, label), track, make("span", { class: "share" }, percent(share)));
}
