// A text in one language, and what it says in another; a document keeps its layout.

import { ask, byId, make, say, show, state } from "/kit.js";

export const words = {
  en: {
    label: "Your text", placeholder: "Write or paste what is to be translated…", run: "Translate",
    from: "From", to: "To", swap: "Swap the languages", form: "As", anyLanguage: "Any language",
    forms: { text: "Text", plain: "Document", markdown: "Markdown", html: "HTML", subtitles: "Subtitles" },
  },
  zh: {
    label: "你的文本", placeholder: "写下或粘贴要翻译的内容……", run: "翻译",
    from: "源语言", to: "目标语言", swap: "交换语言", form: "格式", anyLanguage: "任何语言",
    forms: { text: "文本", plain: "文档", markdown: "Markdown", html: "HTML", subtitles: "字幕" },
  },
};

const directions = () => state.release.choices.directions;
const unique = (codes) => [...new Set(codes)];

function languageName(code) {
  if (!code) return say("anyLanguage");
  try {
    return new Intl.DisplayNames([state.language], { type: "language" }).of(code.replaceAll("_", "-"));
  } catch {
    return code; // no tag that the browser knows
  }
}

export const exampleText = ({ input, source, target }) => directions().some(([from, to]) => from === (source ?? "") && to === (target ?? "")) ? input : "";
export const useExample = ({ source, target }) => choose(source ?? "", target ?? "");

export function request() {
  const source = byId("from").value, target = byId("to").value, form = byId("form").value;
  return {
    input: byId("input").value, ...(source && { source }), ...(target && { target }),
    ...(form !== "text" && { document: true }), ...(!["text", "plain"].includes(form) && { format: form }),
  };
}

export function fields() {
  const from = make("select", { id: "from" }), to = make("select", { id: "to" }), form = make("select", { id: "form" });
  const swap = make("button", { type: "button", id: "swap", class: "quiet", "data-say-label": "swap" }, "⇄");
  from.addEventListener("change", () => choose(from.value, to.value));
  to.addEventListener("change", () => choose(from.value, to.value));
  swap.addEventListener("click", () => {
    choose(to.value, from.value);
    byId("ask").dispatchEvent(new Event("input")); // the snippet follows
  });
  form.append(...Object.keys(words.en.forms).map((name) => new Option(name, name)));
  const field = (id, name, control) => make("span", { class: "choice" }, make("label", { for: id, "data-say": name }), control);
  queueMicrotask(() => choose(...directions()[0]));
  return [field("from", "from", from), swap, field("to", "to", to), field("form", "form", form)];
}

// Called with each change of the language, too: names of languages are in the reader's.
export function translated() {
  choose(byId("from").value, byId("to").value);
  for (const option of byId("form").options) option.textContent = say("forms")[option.value];
}

// Set both languages; where the pair is none that the model knows, the source decides.
function choose(source, target) {
  const targets = unique(directions().filter(([from]) => from === source).map(([, to]) => to));
  const fill = (select, codes, chosen) => {
    select.replaceChildren(...codes.map((code) => new Option(languageName(code), code, false, code === chosen)));
  };
  fill(byId("from"), unique(directions().map(([from]) => from)), source);
  fill(byId("to"), targets, targets.includes(target) ? target : targets[0]);
  byId("swap").disabled = !directions().some(([from, to]) => from === byId("to").value && to === byId("from").value);
}

export async function run(signal) {
  const body = request();
  const answer = await ask(body, signal);
  show(answer.text, make("p", { class: "passage", ...(answer.target && { lang: answer.target.replaceAll("_", "-") }) }, answer.text));
  return answer.text.trim() ? { request: body, output: answer.text } : null;
}
