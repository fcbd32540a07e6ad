// A message, answered while one looks.

import { byId, openaiSnippet, sampling, state, stream } from "/kit.js";

export const words = {
  en: { label: "Your message", placeholder: "Ask something…", run: "Send" },
  zh: { label: "你的消息", placeholder: "问点什么……", run: "发送" },
};
export const streams = true;

export const exampleText = (example) => example.messages.at(-1).content;
export const request = () => ({ model: state.release.name, messages: [{ role: "user", content: byId("input").value }], ...sampling() });
export const run = (signal) => stream(request(), `${byId("input").value}\n\n`, (choice) => choice.delta.content ?? "", signal);
export const snippet = (body, place) => openaiSnippet(body, "chat.completions.create", "answer.choices[0].message.content", place);
