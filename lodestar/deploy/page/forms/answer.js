// A question about a text, and the words of the text that answer it, marked in it.

import { ask, byId, make, percent, say, show, state } from "/kit.js";

export const words = {
  en: {
    label: "Your question", placeholder: "Ask something that the text says…", run: "Find the answer",
    context: "The text", contextPlaceholder: "Paste the text to look in…",
    none: "The text does not say.", sure: (share) => `${share} sure`, windows: (count) => `read in ${count} parts`,
  },
  zh: {
    label: "你的问题", placeholder: "问一件文本中说到的事……", run: "查找答案",
    context: "文本", contextPlaceholder: "粘贴要查找的文本……",
    none: "文本中没有说到。", sure: (share) => `把握 ${share}`, windows: (count) => `分 ${count} 段读完`,
  },
};

export const exampleText = (example) => example.question;
export const useExample = (example) => { byId("context").value = example.context; };
export const request = () => ({ question: byId("input").value, context: byId("context").value });

export function fields() {
  byId("input").rows = 2;
  byId("input").classList.add("short");
  const label = make("label", { for: "context", "data-say": "context" }, say("context"));
  const text = make("textarea", { id: "context", rows: "7", "data-say-placeholder": "contextPlaceholder" });
  return [label, text];
}

export async function run(signal) {
  const body = request();
  const answer = await ask(body, signal);
  const notes = [say("sure")(percent(answer.score, 0)), ...(answer.windows > 1 ? [say("windows")(answer.windows)] : [])];
  const found = answer.answer === null ? [say("none")] : [answer.answer];
  show(found[0], make("p", { class: "verdict" }, ...found), make("p", { class: "note" }, notes.join(" · ")), passage(body.context, answer));
}

// The text with the answer marked. Offsets count characters, as Python does, and not UTF-16's halves.
function passage(text, { start, end }) {
  if (start === null) return make("p", { class: "passage" }, text);
  const characters = Array.from(text);
  const part = (from, to) => characters.slice(from, to).join("");
  return make("p", { class: "passage" }, part(0, start), make("mark", {}, part(start, end)), part(end));
}
