// Texts, one a line, and how near each is to the first one.

import { ask, byId, make, number, openaiSnippet, show, state } from "/kit.js";

export const words = {
  en: { label: "A question, and below it texts, one a line", placeholder: "When does the pool close?\nThe pool closes at nine.\nDogs are welcome.", run: "Compare" },
  zh: { label: "第一行写问题，其余每行一段文本", placeholder: "泳池几点关门？\n泳池晚上九点关门。\n可以带狗。", run: "比较" },
};

export const exampleText = (example) => [example.input].flat().join("\n");
export const request = () => ({ input: byId("input").value.split("\n").filter((line) => line.trim()) });
export const snippet = (body, where) => openaiSnippet({ model: state.release.name, ...body }, "embeddings.create", "[each.embedding for each in answer.data]", where);

export async function run(signal) {
  const { input } = request();
  const { data } = await ask(request(), signal);
  const [first, ...others] = data.map(({ embedding }) => embedding);
  const near = others.map((vector, index) => [input[index + 1], vector.reduce((sum, value, at) => sum + value * first[at], 0)]);
  near.sort((a, b) => b[1] - a[1]);
  const text = near.map(([line, similarity]) => `${similarity}\t${line}`).join("\n");
  const numbers = `[${first.slice(0, 8).map((value) => number(value, 3)).join(", ")}, …] (${first.length})`;
  show(text || JSON.stringify(first), make("p", { class: "verdict" }, input[0]), make("ul", { class: "bars" }, ...near.map(bar)), make("p", {}, make("code", {}, numbers)));
  return new Set(input.slice(1)).size > 1 ? { request: { input }, output: near[0][0], outputs: near.map(([line]) => line) } : null;
}

// Vectors have length 1, so that the similarity is from -1 to 1; what is less than 0 is as far away as 0.
function bar([line, similarity]) {
  const fill = make("span", { class: "fill" });
  fill.style.width = `${100 * Math.max(0, similarity)}%`;
  return make("li", {},
    make("span", { class: "label" }, line), make("span", { class: "track", "aria-hidden": "true" }, fill), make("span", { class: "share" }, number(similarity, 3)));
}
