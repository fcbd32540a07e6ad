// The beginning of a text, continued while one looks; a model that fills gaps writes where the cursor stands.

import { byId, make, openaiSnippet, sampling, show, state, stream } from "/kit.js";

export const words = {
  en: { label: "Your beginning", placeholder: "Write a beginning, and the model continues it…", run: "Continue", cursor: "The model writes at the cursor." },
  zh: { label: "你的开头", placeholder: "写一个开头，由模型续写……", run: "续写", cursor: "模型在光标处书写。" },
};
export const streams = true;

// A text before and after the cursor.
function parts() {
  const { value, selectionStart } = byId("input");
  return state.release.fills ? [value.slice(0, selectionStart), value.slice(selectionStart)] : [value, ""];
}

export const fields = () => (state.release.fills ? [make("p", { class: "help", "data-say": "cursor" })] : []);
export const exampleText = (example) => example.prompt;

export function request() {
  const [prompt, suffix] = parts();
  return { model: state.release.name, prompt, ...(suffix.trim() ? { suffix } : {}), ...sampling() };
}

export async function run(signal) {
  const body = request();
  const made = make("span", { class: "made" });
  show("", make("span", { class: "given" }, body.prompt), made, make("span", { class: "given" }, body.suffix ?? ""));
  await stream(body, made, (choice) => choice.text, signal);
  const { prompt, suffix } = body;
  return state.answerText ? { request: { prompt, ...(suffix && { suffix }) }, output: state.answerText } : null;
}

export const snippet = (body, place) => openaiSnippet(body, "completions.create", "answer.choices[0].text", place);
