// A conversation. The model is sent all of it each time, and remembers nothing itself: what it knows of earlier turns stands on the page.

import { byId, make, openaiSnippet, sampling, say, show, state, stream } from "/kit.js";

export const words = {
  en: {
    label: "Your message", placeholder: "Ask something…", run: "Send", system: "Instructions", systemPlaceholder: "How the assistant should answer (optional)",
    fresh: "New conversation", you: "You", assistant: "Assistant",
  },
  zh: {
    label: "你的消息", placeholder: "问点什么……", run: "发送", system: "要求", systemPlaceholder: "助手应当怎样回答（可不填）",
    fresh: "新对话", you: "你", assistant: "助手",
  },
};
export const streams = true;

let messages = [];
const place = () => `conversation of ${state.release.name}`;

// A conversation and its instructions outlive a reload of their tab, and nothing more.
function keep() {
  const kept = { system: byId("system").value, messages };
  try { sessionStorage.setItem(place(), JSON.stringify(kept)); } catch { /* private browsing: not remembered */ }
}

function kept() {
  const nothing = { system: "", messages: [] };
  try { return JSON.parse(sessionStorage.getItem(place())) ?? nothing; } catch { return nothing; }
}

export function fields() {
  const before = kept();
  messages = before.messages;
  const system = make("textarea", { id: "system", rows: "1", "data-say-placeholder": "systemPlaceholder" });
  system.value = before.system;
  system.addEventListener("input", keep);
  const fresh = make("button", { id: "fresh", type: "button", class: "quiet", "data-say": "fresh" });
  fresh.addEventListener("click", () => {
    messages = [];
    keep();
    byId("result").hidden = true;
    byId("input").focus();
    byId("ask").dispatchEvent(new Event("input"));
  });
  if (messages.length) show(messages.at(-1).content, ...messages.map(bubble));
  return [make("label", { for: "system", class: "field-label", "data-say": "system" }), system, fresh];
}

export const exampleText = (example) => example.messages.at(-1).content;

function conversation(text) {
  const system = byId("system").value.trim();
  return [...(system ? [{ role: "system", content: system }] : []), ...messages, { role: "user", content: text }];
}

export const request = () => ({ model: state.release.name, messages: conversation(byId("input").value), ...sampling() });

function bubble({ role, content }) {
  const who = make("span", { class: "who", "data-say": role === "user" ? "you" : "assistant" }, say(role === "user" ? "you" : "assistant"));
  return make("div", { class: `turn ${role}` }, who, make("span", { class: role === "user" ? "given" : "made" }, content));
}

export async function run(signal) {
  const body = request();
  const asked = { role: "user", content: byId("input").value };
  const answer = bubble({ role: "assistant", content: "" });
  show("", ...messages.map(bubble), bubble(asked), answer);
  byId("input").value = "";
  try {
    await stream(body, answer.lastChild, (choice) => choice.delta.content ?? "", signal);
  } catch (error) {
    if (!state.answerText) { // nothing was answered, so nothing was said
      byId("input").value = asked.content;
      answer.remove();
      throw error;
    }
    remember(asked);
    throw error;
  }
  remember(asked);
  return state.answerText ? { request: { messages: body.messages }, output: state.answerText } : null;
}

function remember(asked) {
  messages.push(asked, { role: "assistant", content: state.answerText });
  keep();
}

export const snippet = (body, where) => openaiSnippet(body, "chat.completions.create", "answer.choices[0].message.content", where);
