// The page where a person tries the model. No framework, no build step; it talks to the API like any other client.

import { WORDS } from "/words.js";

const byId = (id) => document.getElementById(id);
const DETAILS = ["latency_ms_p50", "tokens_per_second", "model_bytes"]; // measured of every system, and left to its card
const numeric = ["temperature", "top_p", "max_tokens", "seed"];
const state = { release: null, language: "en", key: "", running: null, answerId: null, answerText: "", stats: null, tab: "curl" };

// --- Language and theme ---

const remembered = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
const remember = (name, value) => { try { localStorage.setItem(name, value); } catch { /* private browsing: not remembered */ } };
const say = (name) => WORDS[state.language][name];
const number = (value, digits = 0) => new Intl.NumberFormat(state.language, { maximumFractionDigits: digits }).format(value);
const percent = (value, digits = 1) =>
  new Intl.NumberFormat(state.language, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

function setLanguage(language) {
  state.language = language;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-say-label]")) {
    element.setAttribute("aria-label", say(element.dataset.sayLabel));
    element.title = say(element.dataset.sayLabel);
  }
  for (const element of document.querySelectorAll("[data-say-placeholder]")) element.placeholder = say(element.dataset.sayPlaceholder);
  byId("language").textContent = say("otherLanguage");
  byId("language").setAttribute("aria-label", say("otherLanguageLabel"));
  byId("language").lang = language === "zh" ? "en" : "zh-CN";
  if (state.release) showRelease();
  showStats();
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

function otherTheme() {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  return dark ? "light" : "dark";
}

// --- Talking to the server ---

class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(path, body, signal) {
  const headers = state.key ? { Authorization: `Bearer ${state.key}` } : {};
  let response;
  try {
    response = await fetch(path, body === undefined
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

async function* events(response) {
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

// --- The release's card ---

function showScore(score) {
  const show = (value) => {
    if (score.unit === "bytes") return `${number(value / 1e6, value < 1e8 ? 1 : 0)} MB`;
    if (score.unit === "ms") return `${number(value, value < 10 ? 1 : 0)} ms`;
    const share = score.unit === "" && score.better === "higher" && score.low >= 0 && score.high <= 1;
    return share ? percent(value) : new Intl.NumberFormat(state.language, { maximumSignificantDigits: 3 }).format(value);
  };
  const row = document.createElement("div");
  const name = document.createElement("dt");
  const value = document.createElement("dd");
  name.textContent = say("metrics")[score.metric] ?? score.metric.replaceAll("_", " ");
  value.textContent = show(score.value);
  row.title = [score.words?.[state.language], say("interval")(show(score.low), show(score.high), percent(score.confidence, 0))].filter(Boolean).join(" · ");
  row.append(name, value);
  return row;
}

function showRelease() {
  const { name, words, endpoint, parameters, context, vocabulary, scores, gates, task } = state.release;
  const classify = endpoint === "classify";
  document.title = `${name} · Lodestar`;
  byId("name").textContent = name;
  byId("purpose").textContent = words[state.language];
  byId("scores").replaceChildren(...scores.filter((score) => !DETAILS.includes(score.metric)).slice(0, 7).map(showScore));
  const compact = new Intl.NumberFormat(state.language, { notation: "compact", maximumFractionDigits: 1 });
  const promises = gates.length ? [say("promises")(gates.filter(Boolean).length, gates.length)] : [];
  byId("facts").textContent = [...promises, say("facts")(compact.format(parameters), number(context), number(vocabulary))].join(" · ");
  byId("input-label").textContent = say(classify ? "text" : chats() ? "message" : "prompt");
  byId("input").placeholder = say(classify ? "textPlaceholder" : chats() ? "messagePlaceholder" : "promptPlaceholder");
  byId("run").textContent = say(classify ? "classify" : chats() ? "send" : "continue");
  byId("settings").hidden = classify;
  byId("workshop").classList.toggle("single", classify);
  byId("workshop").classList.toggle("mono", task === "code-generation");
  byId("workshop").hidden = false;
  showExamples();
  showSnippet();
}

function showExamples() {
  const chinese = (text) => /\p{Script=Han}/u.test(text) === (state.language === "zh");
  const texts = state.release.examples.map((example) => example.prompt ?? example.input ?? example.messages?.at(-1)?.content).filter((text) => typeof text === "string" && text.trim());
  texts.sort((a, b) => chinese(b) - chinese(a)); // the reader's language first
  byId("examples").replaceChildren(...[...new Set(texts)].map((text) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text.trim().replace(/\s+/g, " ").slice(0, 60);
    button.addEventListener("click", () => {
      byId("input").value = text;
      showSnippet();
      run();
    });
    return button;
  }));
}

async function loadRelease() {
  try {
    state.release = await (await call("/api/release")).json();
  } catch (error) {
    byId("key-form").hidden = error.status !== 401;
    if (error.status === 401) byId("key").focus();
    else byId("purpose").textContent = error.message;
    return;
  }
  byId("key-form").hidden = true;
  byId("max_tokens").max = Math.max(1, state.release.context - 1);
  byId("max_tokens").value = Math.max(1, Math.min(128, Math.floor(state.release.context / 2)));
  showRelease();
}

// --- Asking the model ---

const chats = () => state.release.endpoint === "chat/completions";

function request() {
  if (state.release.endpoint === "classify") return { input: byId("input").value };
  const text = byId("input").value;
  const body = { model: state.release.name, ...(chats() ? { messages: [{ role: "user", content: text }] } : { prompt: text }) };
  for (const name of ["max_tokens", "temperature", "top_p", "seed"]) {
    if (byId(name).value !== "") body[name] = Number(byId(name).value);
  }
  return body;
}

async function run() {
  if (state.running || !state.release) return;
  showError("");
  const classify = state.release.endpoint === "classify";
  if (classify && !byId("input").value.trim()) return showError(say("nothing"));
  const wrong = classify ? undefined : numeric.map(byId).find((field) => !field.checkValidity());
  if (wrong) {
    byId("settings").open = true; // a field must be seen to be corrected
    wrong.reportValidity();
    return;
  }
  state.running = new AbortController();
  state.answerId = null;
  state.answerText = "";
  state.stats = { start: performance.now() };
  busy(true);
  showStats();
  try {
    await (classify ? classifyText : continueText)(state.running.signal);
  } catch (error) {
    if (error.name === "AbortError") state.stats.stopped = true;
    else showError(error.message);
    if (error.status === 401) byId("key-form").hidden = false;
  } finally {
    state.running = null;
    busy(false);
    showStats();
  }
}

async function continueText(signal) {
  const given = document.createElement("span");
  const made = document.createElement("span");
  given.className = "given";
  made.className = "made";
  given.textContent = byId("input").value + (chats() ? "\n\n" : "");
  byId("answer").replaceChildren(given, made);
  showResult();
  const text = made.appendChild(document.createTextNode(""));
  const body = { ...request(), stream: true, stream_options: { include_usage: true } };
  for await (const event of events(await call(`/v1/${state.release.endpoint}`, body, signal))) {
    const now = performance.now();
    state.answerId = event.id;
    state.stats.seed = event.seed;
    const piece = event.choices[0]?.text ?? event.choices[0]?.delta?.content ?? "";
    if (event.choices.length) {
      state.stats.first ??= now;
      state.stats.last = now;
      state.stats.tokens = (state.stats.tokens ?? 0) + 1;
    }
    if (event.usage) state.stats.tokens = event.usage.completion_tokens;
    text.appendData(piece);
    state.answerText += piece;
    showStats();
  }
  if (!state.answerText) made.textContent = say("empty");
  opinions(true);
}

async function classifyText(signal) {
  const answer = await (await call("/v1/classify", request(), signal)).json();
  const shares = Object.entries(answer.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
  const verdict = document.createElement("p");
  verdict.className = "verdict";
  verdict.textContent = answer.label;
  const bars = document.createElement("ul");
  bars.className = "bars";
  bars.append(...shares.map(([label, share]) => bar(label, share)));
  byId("answer").replaceChildren(verdict, bars);
  showResult();
  state.answerId = answer.id;
  state.answerText = shares.map(([label, share]) => `${label}\t${share}`).join("\n");
  state.stats.last = performance.now();
  state.stats.truncated = answer.truncated ?? false;
  opinions(true);
}

function bar(label, share) {
  const item = document.createElement("li");
  const parts = { label: document.createElement("span"), track: document.createElement("span"), share: document.createElement("span") };
  for (const [name, part] of Object.entries(parts)) part.className = name;
  parts.label.textContent = label;
  parts.share.textContent = percent(share);
  parts.track.setAttribute("aria-hidden", "true");
  const fill = parts.track.appendChild(document.createElement("span"));
  fill.className = "fill";
  fill.style.width = `${100 * share}%`;
  item.append(parts.label, parts.track, parts.share);
  return item;
}

function showResult() {
  byId("result").hidden = false;
  byId("result").scrollIntoView({ block: "nearest" });
}

function busy(running) {
  byId("run").disabled = running;
  byId("stop").disabled = !running;
  byId("answer").setAttribute("aria-busy", String(running));
  byId("answer").classList.toggle("running", running && state.release.endpoint !== "classify");
  if (running) opinions(false);
}

function showError(message) {
  byId("error").hidden = !message;
  byId("error").textContent = message;
}

function showStats() {
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

// --- Opinions, copies, code ---

function opinions(enabled) {
  for (const id of ["up", "down"]) {
    byId(id).disabled = !enabled;
    byId(id).setAttribute("aria-pressed", "false");
  }
}

async function rate(rating) {
  try {
    await call("/v1/feedback", { id: state.answerId, rating });
  } catch (error) {
    return showError(error.message);
  }
  for (const id of ["up", "down"]) byId(id).setAttribute("aria-pressed", String(id === rating));
}

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return; // the browser did not allow it; the text stands there to be selected
  }
  button.textContent = say("copied");
  setTimeout(() => { button.textContent = say("copy"); }, 1500);
}

const pythonText = (value) => JSON.stringify(value);

function snippet() {
  const body = request();
  const path = `/v1/${state.release.endpoint}`;
  const { origin } = location;
  if (state.tab === "curl") {
    const key = state.key ? ' \\\n  -H "Authorization: Bearer $LODESTAR_API_KEY"' : "";
    return `curl ${origin}${path} -H 'Content-Type: application/json'${key} \\\n  -d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`;
  }
  const key = state.key ? 'os.environ["LODESTAR_API_KEY"]' : '"none"';
  const head = state.key ? "import os\n\n" : "";
  if (state.release.endpoint !== "classify") {
    const parameters = Object.entries(body).map(([name, value]) => `    ${name}=${pythonText(value)},`).join("\n");
    return `${head}from openai import OpenAI\n\nclient = OpenAI(base_url="${origin}/v1", api_key=${key})\nanswer = client.${chats() ? "chat." : ""}completions.create(\n${parameters}\n)\nprint(answer.choices[0].${chats() ? "message.content" : "text"})`;
  }
  const authorization = state.key ? `, "Authorization": "Bearer " + ${key}` : "";
  return `${head}import json\nimport urllib.request\n\nrequest = urllib.request.Request(\n    "${origin}${path}",\n    data=json.dumps({"input": ${pythonText(body.input)}}).encode(),\n    headers={"Content-Type": "application/json"${authorization}},\n)\nprint(json.load(urllib.request.urlopen(request)))`;
}

function showSnippet() {
  if (state.release) byId("snippet").textContent = snippet();
}

function setTab(tab) {
  state.tab = tab;
  for (const name of ["curl", "python"]) {
    byId(`tab-${name}`).setAttribute("aria-selected", String(name === tab));
    byId(`tab-${name}`).tabIndex = name === tab ? 0 : -1;
  }
  byId("snippet").setAttribute("aria-labelledby", `tab-${tab}`);
  showSnippet();
}

// --- Wiring ---

byId("language").addEventListener("click", () => {
  setLanguage(state.language === "zh" ? "en" : "zh");
  remember("language", state.language);
});
byId("theme").addEventListener("click", () => {
  const theme = otherTheme();
  setTheme(theme);
  remember("theme", theme);
});
byId("ask").addEventListener("submit", (event) => { event.preventDefault(); run(); });
byId("stop").addEventListener("click", () => state.running?.abort());
byId("key-form").addEventListener("submit", (event) => { event.preventDefault(); state.key = byId("key").value; loadRelease(); });
byId("up").addEventListener("click", () => rate("up"));
byId("down").addEventListener("click", () => rate("down"));
byId("copy-answer").addEventListener("click", () => copy(byId("copy-answer"), state.answerText));
byId("copy-code").addEventListener("click", () => copy(byId("copy-code"), byId("snippet").textContent));
for (const tab of ["curl", "python"]) {
  byId(`tab-${tab}`).addEventListener("click", () => setTab(tab));
  byId(`tab-${tab}`).addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = tab === "curl" ? "python" : "curl";
    setTab(other);
    byId(`tab-${other}`).focus();
  });
}
for (const name of ["temperature", "top_p"]) {
  const shown = document.querySelector(`output[for="${name}"]`);
  const update = () => { shown.textContent = Number(byId(name).value).toFixed(2); };
  byId(name).addEventListener("input", update);
  update();
}
for (const element of [byId("input"), ...numeric.map(byId)]) element.addEventListener("input", showSnippet);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); }
  if (event.key === "Escape") state.running?.abort();
});

setTheme(remembered("theme"));
setLanguage(remembered("language") ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en"));
if (matchMedia("(max-width: 50rem)").matches) byId("settings").open = false;
loadRelease();
