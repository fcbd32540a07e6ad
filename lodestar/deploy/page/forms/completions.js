// The beginning of a text, continued while one looks.

import { byId, make, openaiSnippet, sampling, show, state, stream } from "/kit.js";

export const words = {
  en: { label: "Your beginning", placeholder: "Write a beginning, and the model continues it…", run: "Continue" },
  zh: { label: "你的开头", placeholder: "写一个开头，由模型续写……", run: "续写" },
};
export const streams = true;

export const exampleText = (example) => example.prompt;
export const request = () => ({ model: state.release.name, prompt: byId("input").value, ...sampling() });

export async function run(signal) {
  const made = make("span", { class: "made" });
  show("", make("span", { class: "given" }, byId("input").value), made);
  await stream(request(), made, (choice) => choice.text, signal);
}

export const snippet = (body, place) => openaiSnippet(body, "completions.create", "answer.choices[0].text", place);
