// The page where a person tries the model. No framework, no build step; it talks to the API like any other client.
//
// What is asked and how the answer is drawn depends on the release's endpoint and task: forms/ has a module for each, with
//   words        what it says, in both languages: label, placeholder, run (the button), and whatever else it says itself
//   streams      true where the answer is made word by word; the settings of that are shown then
//   fields()     elements that stand under the text, where it asks for more than one (optional)
//   translated() the reader's language has changed: fields that say more than `data-say` does (optional)
//   textless     true where nothing is written to ask; the text is hidden then (optional)
//   ready()      whether there is something to ask; where absent, whether there is text
//   exampleText  an example of the release → what is filled in; useExample(example) fills in more than the text (optional), and
//                drawExample(example) is what its button shows in the place of the text (optional)
//   request()    the body of what is asked
//   run(signal)  asks and draws, with `ask` or `stream` and `show` of kit.js; returns what of it can be explained: `request`, `output`
//   snippet      Python that asks the same (optional: the standard library's otherwise)
//   curl         a command that asks the same (optional: with the body as JSON otherwise)

import * as explanation from "/explain.js";
import { byId, call, number, percent, say, show, showStats, state } from "/kit.js";
import { WORDS } from "/words.js";

const DETAILS = ["latency_ms_p50", "tokens_per_second", "model_bytes"]; // measured of every system, and left to its card
const numeric = ["temperature", "top_p", "max_tokens", "seed"];

// --- Language and theme ---

const remembered = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
const remember = (name, value) => { try { localStorage.setItem(name, value); } catch { /* private browsing: not remembered */ } };

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
  if (state.release) {
    state.form.translated?.();
    showRelease();
    explanation.translated();
  }
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
  const { name, words, parameters, context, vocabulary, scores, gates, task } = state.release;
  const { streams, textless } = state.form;
  document.title = `${name} · Lodestar`;
  byId("name").textContent = name;
  byId("purpose").textContent = words[state.language];
  byId("scores").replaceChildren(...scores.filter((score) => !DETAILS.includes(score.metric)).slice(0, 7).map(showScore));
  const compact = new Intl.NumberFormat(state.language, { notation: "compact", maximumFractionDigits: 1 });
  const promises = gates.length ? [say("promises")(gates.filter(Boolean).length, gates.length)] : [];
  byId("facts").textContent = [...promises, say("facts")(compact.format(parameters), number(context), number(vocabulary))].join(" · ");
  byId("input-label").textContent = say("label");
  byId("input").placeholder = say("placeholder");
  byId("run").textContent = say("run");
  byId("input").hidden = byId("input-label").hidden = Boolean(textless);
  byId("settings").hidden = !streams;
  byId("workshop").classList.toggle("single", !streams);
  byId("workshop").classList.toggle("mono", task === "code-generation");
  byId("workshop").hidden = false;
  showExamples();
  showSnippet();
}

function showExamples() {
  const chinese = (text) => /\p{Script=Han}/u.test(text) === (state.language === "zh");
  const { exampleText, useExample, drawExample } = state.form;
  const examples = new Map(state.release.examples.map((example) => [exampleText(example), example]));
  const texts = [...examples.keys()].filter((text) => typeof text === "string" && text.trim());
  texts.sort((a, b) => chinese(b) - chinese(a)); // the reader's language first
  byId("examples").replaceChildren(...texts.map((text) => {
    const button = document.createElement("button");
    button.type = "button";
    if (drawExample) button.append(drawExample(examples.get(text)));
    else button.textContent = text.trim().replace(/\s+/g, " ").slice(0, 60);
    button.addEventListener("click", () => {
      byId("input").value = text;
      useExample?.(examples.get(text));
      showSnippet();
      run();
    });
    return button;
  }));
}

async function loadRelease() {
  try {
    const release = await (await call("/api/release")).json();
    state.form = await import(`/forms/${release.form}.js`);
    state.release = release;
  } catch (error) {
    byId("key-form").hidden = error.status !== 401;
    if (error.status === 401) byId("key").focus();
    else byId("purpose").textContent = error.message;
    return;
  }
  byId("key-form").hidden = true;
  byId("max_tokens").max = Math.max(1, state.release.context - 1);
  byId("max_tokens").value = Math.max(1, Math.min(128, Math.floor(state.release.context / 2)));
  byId("fields").replaceChildren(...(state.form.fields?.() ?? []));
  setLanguage(state.language);
}

// --- Asking the model ---

async function run() {
  if (state.running || !state.release) return;
  showError("");
  const { streams, ready = () => Boolean(byId("input").value.trim()) } = state.form;
  if (!streams && !ready()) return showError(say("nothing"));
  const wrong = streams ? numeric.map(byId).find((field) => !field.checkValidity()) : undefined;
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
  explanation.offer(null);
  try {
    explanation.offer(await state.form.run(state.running.signal));
    opinions(true);
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

function busy(running) {
  byId("run").disabled = running;
  byId("stop").disabled = !running;
  byId("answer").setAttribute("aria-busy", String(running));
  byId("answer").classList.toggle("running", running && Boolean(state.form.streams));
  if (running) opinions(false);
}

function showError(message) {
  byId("error").hidden = !message;
  byId("error").textContent = message;
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

function snippet() {
  const body = state.form.request();
  const path = `/v1/${state.release.endpoint}`;
  const { origin } = location;
  if (state.tab === "curl" && state.form.curl) return state.form.curl({ origin, key: state.key });
  if (state.tab === "curl") {
    const key = state.key ? ' \\\n  -H "Authorization: Bearer $LODESTAR_API_KEY"' : "";
    return `curl ${origin}${path} -H 'Content-Type: application/json'${key} \\\n  -d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`;
  }
  const key = state.key ? 'os.environ["LODESTAR_API_KEY"]' : '"none"';
  const head = state.key ? "import os\n\n" : "";
  if (state.form.snippet) return state.form.snippet(body, { origin, key, head });
  const authorization = state.key ? `, "Authorization": "Bearer " + ${key}` : "";
  return `${head}import json\nimport urllib.request\n\nrequest = urllib.request.Request(\n    "${origin}${path}",\n    data=json.dumps(${python(body)}).encode(),\n    headers={"Content-Type": "application/json"${authorization}},\n)\nprint(json.load(urllib.request.urlopen(request)))`;
}

// JSON as Python writes it.
const python = (value) => JSON.stringify(value, null, 1).replace(/\n\s*/g, " ").replace(/("(?:[^"\\]|\\.)*")|\b(true|false|null)\b/g,
  (all, text, name) => text ?? { true: "True", false: "False", null: "None" }[name]).replace(/^\{ /, "{").replace(/ \}$/, "}");

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
for (const element of [byId("ask"), byId("settings")]) element.addEventListener("input", showSnippet);
for (const moved of ["keyup", "click"]) byId("input").addEventListener(moved, showSnippet); // the cursor
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); }
  if (event.key === "Escape") state.running?.abort();
});

setTheme(remembered("theme"));
setLanguage(remembered("language") ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en"));
if (matchMedia("(max-width: 50rem)").matches) byId("settings").open = false;
loadRelease();
