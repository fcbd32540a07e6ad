// What the page and its forms share: the state, the languages, the server, and what every answer is drawn with.

import { WORDS } from "/words.js";

export const byId = (id) => document.getElementById(id);
export const state = {
  release: null, form: null, language: "en", key: "", running: null, answerId: null, answerText: "", stats: null, tab: "curl",
};

// --- Language ---

export const say = (name) => state.form?.words?.[state.language][name] ?? WORDS[state.language][name];
export const number = (value, digits = 0) => new Intl.NumberFormat(state.language, { maximumFractionDigits: digits }).format(value);
export const percent = (value, digits = 1) =>
  new Intl.NumberFormat(state.language, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

// An element of a tag, with attributes and children: texts are always text, never markup.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// --- The server ---

export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// A body that is a form is sent as one, any other as JSON.
export async function call(path, body, signal) {
  const headers = state.key ? { Authorization: `Bearer ${state.key}` } : {};
  let response;
  try {
    if (body instanceof FormData) response = await fetch(path, { method: "POST", headers, body, signal });
    else response = await fetch(path, body === undefined
      ? { headers, signal }
      : { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Refusal(0, say("unreachable"));
  }
  if (!response.ok) {
    const told = await response.json().catch(() => null);
    throw new Refusal(response.status, told?.error?.message ?? `${response.status} ${response.statusText}`);
  }
  return response;
}

export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += value;
    let end;
    while ((end = buffer.indexOf("\n\n")) >= 0) {
      const data = buffer.slice(0, end).replace(/^data: /, "");
      buffer = buffer.slice(end + 2);
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new Refusal(200, event.error.message);
      yield event;
    }
  }
}

// --- Asking and drawing ---

// The whole answer to a body.
export async function ask(body, signal) {
  const answer = await (await call(`/v1/${state.release.endpoint}`, body, signal)).json();
  state.answerId = answer.id;
  state.stats.last = performance.now();
  state.stats.truncated = answer.truncated ?? false;
  return answer;
}

// Draw an answer; `text` is what the copy button gives.
export function show(text, ...elements) {
  byId("answer").replaceChildren(...elements);
  byId("result").hidden = false;
  byId("result").scrollIntoView({ block: "nearest" });
  state.answerText = text;
}

// A streamed answer, written into an element as it is made. `piece` reads an event's text.
export async function stream(body, made, piece, signal) {
  const text = made.appendChild(document.createTextNode(""));
  const asked = { ...body, stream: true, stream_options: { include_usage: true } };
  for await (const event of events(await call(`/v1/${state.release.endpoint}`, asked, signal))) {
    const now = performance.now();
    state.answerId = event.id;
    state.stats.seed = event.seed;
    if (event.choices.length) {
      state.stats.first ??= now;
      state.stats.last = now;
      state.stats.tokens = (state.stats.tokens ?? 0) + 1;
      text.appendData(piece(event.choices[0]));
      state.answerText += piece(event.choices[0]);
    }
    if (event.usage) state.stats.tokens = event.usage.completion_tokens;
    showStats();
  }
  if (!state.answerText) made.textContent = say("empty");
}

export function showStats() {
  const stats = state.stats;
  if (!stats) return;
  const duration = (ms) => (ms < 1000 ? `${number(ms)} ms` : `${number(ms / 1000, 1)} s`);
  const parts = [];
  if (state.running && !stats.first) parts.push(say("working"));
  if (stats.first) parts.push(say("firstToken")(duration(stats.first - stats.start)));
  if (stats.first && stats.tokens > 1 && stats.last > stats.first) parts.push(say("speed")(number((1000 * (stats.tokens - 1)) / (stats.last - stats.first), 0)));
  if (stats.tokens) parts.push(say("tokens")(number(stats.tokens)));
  if (stats.last) parts.push(say("total")(duration(stats.last - stats.start)));
  if (stats.seed !== undefined && !state.running && Number(byId("temperature").value) > 0) parts.push(say("seedUsed")(stats.seed));
  if (stats.truncated) parts.push(say("truncated"));
  if (stats.stopped) parts.push(say("stopped"));
  byId("stats").textContent = parts.join("  ·  ");
}

// The fields of `settings`, as parameters of a body.
export function sampling() {
  const given = ["max_tokens", "temperature", "top_p", "seed"].filter((name) => byId(name).value !== "");
  return Object.fromEntries(given.map((name) => [name, Number(byId(name).value)]));
}

// Python that asks through OpenAI's client: `method` of it, and what of its answer is printed.
export function openaiSnippet(body, method, printed, { origin, key, head }) {
  const parameters = Object.entries(body).map(([name, value]) => `    ${name}=${JSON.stringify(value)},`).join("\n");
  return `${head}from openai import OpenAI\n\nclient = OpenAI(base_url="${origin}/v1", api_key=${key})\nanswer = client.${method}(\n${parameters}\n)\nprint(${printed})`;
}
