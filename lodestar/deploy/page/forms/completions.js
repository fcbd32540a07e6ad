// The beginning of a text, continued while one looks.

import { byId, openaiSnippet, sampling, state, stream } from "/kit.js";

export const words = {
  en: { label: "Your beginning", placeholder: "Write a beginning, and the model continues it…", run: "Continue" },
  zh: { label: "你的开头", placeholder: "写一个开头，由模型续写……", run: "续写" },
};
export const streams = true;

export const exampleText = (example) => example.prompt;
export const request = () => ({ model: state.release.name, prompt: byId("input").value, ...sampling() });
export const run = (signal) => stream(request(), byId("input").value, (choice) => choice.text, signal);
export const snippet = (body, place) => openaiSnippet(body, "completions.create", "answer.choices[0].text", place);
