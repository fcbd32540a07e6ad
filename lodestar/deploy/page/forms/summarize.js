// A document of any length, and what it says in a few words.

import { ask, byId, make, number, say, show } from "/kit.js";

export const words = {
  en: {
    label: "Your document", placeholder: "Paste an article, a report or a conversation of any length…", run: "Summarise",
    longest: "Tokens of the summary, at most", usual: "as trained", none: "The model wrote nothing.",
    whole: "read at once", windows: (count) => `read in ${count} parts`, cut: "cut at the length asked for",
    shorter: (read, written) => `${read} characters in ${written}`,
  },
  zh: {
    label: "你的文档", placeholder: "粘贴任意长度的文章、报告或对话……", run: "生成摘要",
    longest: "摘要最多词元数", usual: "同训练时", none: "模型没有写出内容。",
    whole: "一次读完", windows: (count) => `分 ${count} 段读完`, cut: "到达所限长度而截断",
    shorter: (read, written) => `${read} 字缩为 ${written} 字`,
  },
};

export const exampleText = (example) => example.input;

export function request() {
  const most = byId("longest").value;
  return { input: byId("input").value, ...(most && { max_tokens: Number(most) }) };
}

export function fields() {
  const most = make("input", { id: "longest", type: "number", min: "1", step: "1", "data-say-placeholder": "usual", placeholder: say("usual") });
  most.style.maxWidth = "14rem";
  return [make("div", { class: "choice" }, make("label", { for: "longest", "data-say": "longest" }, say("longest")), most)];
}

export async function run(signal) {
  const body = request();
  const answer = await ask(body, signal);
  const length = (text) => number(Array.from(text).length);
  const notes = [
    answer.windows > 1 ? say("windows")(number(answer.windows)) : say("whole"),
    say("shorter")(length(body.input), length(answer.summary)),
    ...(answer.finish_reason === "length" ? [say("cut")] : []),
  ];
  const text = answer.summary || say("none");
  show(answer.summary, make("p", { class: "passage" }, text), make("p", { class: "note below" }, notes.join(" · ")));
  return answer.summary ? { request: body, output: answer.summary } : null;
}
