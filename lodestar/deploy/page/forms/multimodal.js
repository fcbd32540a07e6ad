// A picture or a recording, what is asked about it, and the answer as it is written.

import { byId, make, openaiSnippet, sampling, say, show, state, stream } from "/kit.js";
import * as picture from "/forms/picture.js";
import * as recording from "/forms/transcriptions.js";

const own = {
  en: {
    label: "Your question", placeholder: "What is there?", run: "Ask", nothing: "Choose a picture, or record something, and ask about it.",
    asked: "Question", answered: "Answer",
  },
  zh: {
    label: "你的问题", placeholder: "里面有什么？", run: "提问", nothing: "请先选一张图片或录一段声音，再提问。",
    asked: "提问", answered: "回答",
  },
};
// What the fields of the two kinds say, but for their titles and what stands under them.
const ofField = ({ facts, ...words }) => words;
export const words = Object.fromEntries(
  ["en", "zh"].map((language) => [
    language, { ...ofField(picture.words[language]), ...ofField(recording.words[language]), ...own[language] },
  ]),
);
export const streams = true;

const kind = () => (state.release.choices.reads === "sounds" ? recording : picture);

export function fields() {
  byId("input").classList.add("short");
  byId("input").rows = 2;
  byId("temperature").value = 0; // what is asked about a picture has one answer
  byId("temperature").dispatchEvent(new Event("input"));
  return kind().fields();
}

export const translated = () => kind().translated?.();
export const ready = () => Boolean(kind().ready() && byId("input").value.trim());

// The request's last message: a file, and a text.
const parts = (example) => example.messages.at(-1).content;
export const exampleText = (example) => parts(example).find((part) => part.type === "text").text;

export function drawExample(example) {
  const [file] = parts(example);
  const shown = file.type === "image_url" ? [make("img", { src: file.image_url.url, alt: "", class: "thumbnail" })] : [];
  return make("span", { class: "with-file" }, ...shown, exampleText(example));
}

export function useExample(example) {
  const [file] = parts(example);
  if (file.type === "image_url") picture.hold(file.image_url.url);
  else recording.hold(recording.blobOf(`data:audio/wav;base64,${file.input_audio.data}`), say("example")(1 + state.release.examples.indexOf(example)), null);
}

const asked = (file) => ({
  model: state.release.name, messages: [{ role: "user", content: [file, { type: "text", text: byId("input").value }] }], ...sampling(),
});
const EXAMPLE = {
  pictures: { type: "image_url", image_url: { url: "data:image/png;base64,…" } },
  sounds: { type: "input_audio", input_audio: { data: "…", format: "wav" } },
};
// The code to ask with is shown with the file left out: a picture of two megabytes would hide it.
export const request = () => asked(EXAMPLE[state.release.choices.reads]);

async function file() {
  if (kind() === picture) return { type: "image_url", image_url: { url: picture.chosenUrl() } };
  const blob = await recording.finished();
  const data = (await picture.read(blob)).split(",")[1];
  return { type: "input_audio", input_audio: { data, format: blob.type.includes("mpeg") ? "mp3" : "wav" } };
}

export async function run(signal) {
  if (!ready()) throw new Error(say("nothing"));
  const body = asked(await file());
  const answer = make("span", { class: "made" });
  const seen = kind() === picture ? [make("img", { src: picture.chosenUrl(), alt: say("shown"), class: "seen" })] : [];
  const said = make("div", {},
    make("div", { class: "turn" }, make("span", { class: "who", "data-say": "asked" }, say("asked")), make("span", { class: "given" }, byId("input").value)),
    make("div", { class: "turn" }, make("span", { class: "who", "data-say": "answered" }, say("answered")), answer));
  show("", make("div", { class: "looked" }, ...seen, said));
  await stream(body, answer, (choice) => choice.delta.content ?? "", signal);
  const explained = { messages: body.messages };
  return state.answerText && kind() === picture ? { request: explained, output: state.answerText } : null;
}

const HEAD = {
  pictures: 'picture = base64.b64encode(Path("picture.png").read_bytes()).decode()\nfile = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + picture}}',
  sounds: 'recording = base64.b64encode(Path("recording.wav").read_bytes()).decode()\nfile = {"type": "input_audio", "input_audio": {"data": recording, "format": "wav"}}',
};

export function snippet(body, where) {
  const lines = openaiSnippet(body, "chat.completions.create", "answer.choices[0].message.content", { ...where, head: "" });
  const withFile = lines.replace(JSON.stringify(EXAMPLE[state.release.choices.reads]), "file");
  return `${where.head}import base64\nfrom pathlib import Path\n\n${withFile.replace("answer = ", `${HEAD[state.release.choices.reads]}\nanswer = `)}`;
}

export function curl({ origin, key }) {
  const authorization = key ? ' \\\n  -H "Authorization: Bearer $LODESTAR_API_KEY"' : "";
  const sounds = state.release.choices.reads === "sounds";
  const body = JSON.stringify(request()).replace("…", sounds ? "$(base64 < recording.wav | tr -d '\\n')" : "$(base64 < picture.png | tr -d '\\n')");
  return `curl ${origin}/v1/chat/completions -H 'Content-Type: application/json'${authorization} -d @- <<JSON\n${body}\nJSON`;
}
