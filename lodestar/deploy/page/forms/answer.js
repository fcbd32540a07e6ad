// A question about a text, and the words of the text that answer it, marked in it. Where the release is served with documents, a question
// without a text is answered from them: the passages are shown with their file, page and lines.

import { ask, byId, make, percent, say, show, state } from "/kit.js";

export const words = {
  en: {
    label: "Your question", placeholder: "Ask something that the text says…", run: "Look it up",
    context: "The text", contextPlaceholder: "Paste the text to look in…",
    none: "The text does not say.", sure: (share) => `${share} sure`, windows: (count) => `read in ${count} parts`,
    contextOptional: "Leave empty to ask the documents…", nowhere: "Not in the documents.", nearest: "What comes nearest",
    place: ({ file, page, line, last_line: last }) => `${file}, ${page === null ? "" : `page ${page}, `}${line === last ? `line ${line}` : `lines ${line}–${last}`}`,
  },
  zh: {
    label: "你的问题", placeholder: "问一件文本中说到的事……", run: "查找答案",
    context: "文本", contextPlaceholder: "粘贴要查找的文本……",
    none: "文本中没有说到。", sure: (share) => `把握 ${share}`, windows: (count) => `分 ${count} 段读完`,
    contextOptional: "留空则从文档中查找……", nowhere: "文档中没有答案。", nearest: "最接近的内容",
    place: ({ file, page, line, last_line: last }) => `${file}，${page === null ? "" : `第 ${page} 页，`}第 ${line === last ? line : `${line}–${last}`} 行`,
  },
};

export const exampleText = (example) => example.question;
export const useExample = (example) => { byId("context").value = example.context; };
export function request() {
  const question = byId("input").value, context = byId("context").value;
  return state.release.documents && !context.trim() ? { question } : { question, context };
}

export function fields() {
  byId("input").rows = 2;
  byId("input").classList.add("short");
  const label = make("label", { for: "context", "data-say": "context" }, say("context"));
  const hint = state.release.documents ? "contextOptional" : "contextPlaceholder";
  const text = make("textarea", { id: "context", rows: "7", placeholder: say(hint), "data-say-placeholder": hint });
  return [label, text];
}

export async function run(signal) {
  const body = request();
  const answer = await ask(body, signal);
  if (body.context === undefined) return showCited(body.question, answer);
  const notes = [say("sure")(percent(answer.score, 0)), ...(answer.windows > 1 ? [say("windows")(answer.windows)] : [])];
  const found = answer.answer === null ? [say("none")] : [answer.answer];
  show(found[0], make("p", { class: "verdict" }, ...found), make("p", { class: "note" }, notes.join(" · ")), passage(body.context, answer));
  byId("answer").querySelector("mark")?.scrollIntoView({ block: "nearest" });
  return { request: body };
}

function showCited(question, { answer, citations, nearest }) {
  const found = answer ?? say("nowhere");
  const cited = (citation) => make("div", {}, make("p", { class: "note below" }, say("place")(citation)), passage(citation.passage, { start: null, ...citation }));
  const heading = nearest.length ? [make("p", { class: "note" }, say("nearest"))] : [];
  show(found, make("p", { class: "verdict" }, found), ...heading, ...[...citations, ...nearest].map(cited));
  return answer && { request: { question, context: citations[0].passage }, output: answer };
}

// The text with the answer marked. Offsets count characters, as Python does, and not UTF-16's halves.
function passage(text, { start, end }) {
  if (start === null) return make("p", { class: "passage" }, text);
  const characters = Array.from(text);
  const part = (from, to) => characters.slice(from, to).join("");
  return make("p", { class: "passage" }, part(0, start), make("mark", {}, part(start, end)), part(end));
}
