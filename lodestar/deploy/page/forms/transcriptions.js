// A recording, from the microphone or a file, and what is said in it: each word lights up as it is heard again.

import { byId, call, make, number, say, show, state } from "/kit.js";

export const words = {
  en: {
    label: "Your recording", placeholder: "", run: "Transcribe", nothing: "Record something, or choose a file first.",
    record: "Record", finish: "Finish", file: "Choose a file", chosen: (name, seconds) => (seconds ? `${name} · ${seconds} s` : name),
    none: "No recording yet", own: "microphone", example: (count) => `Example ${count}`,
    recording: (seconds) => `Recording… ${seconds} s`, silent: "Nothing is said in this recording.",
    refused: "The browser gives no microphone: allow it for this page, or choose a file.",
    insecure: "A browser gives a page the microphone only on this machine (localhost) or over https. Choose a file.",
    said: (count, seconds) => `${count} words in ${seconds} s of sound`, save: "Subtitles (.srt)",
  },
  zh: {
    label: "你的录音", placeholder: "", run: "转写", nothing: "请先录音或选择文件。",
    record: "录音", finish: "结束", file: "选择文件", chosen: (name, seconds) => (seconds ? `${name} · ${seconds} 秒` : name),
    none: "还没有录音", own: "麦克风", example: (count) => `例 ${count}`,
    recording: (seconds) => `正在录音……${seconds} 秒`, silent: "这段录音里没有人说话。",
    refused: "浏览器未开放麦克风：请允许本页使用，或选择文件。",
    insecure: "只有在本机（localhost）或 https 下，浏览器才会把麦克风交给网页。请选择文件。",
    said: (count, seconds) => `${seconds} 秒声音，共 ${count} 词`, save: "字幕（.srt）",
  },
};

export const textless = true;
let held = null; // { blob, name, seconds }
let capture = null; // what is being recorded

// --- What is asked ---

export const exampleText = (example) => say("example")(state.release.examples.indexOf(example) + 1);
export const useExample = (example) => hold(blobOf(example.file), exampleText(example), null);
export const ready = () => Boolean(held);
export const request = () => ({ response_format: "verbose_json" });

export function blobOf(url) {
  const [head, content] = url.split(",");
  return new Blob([Uint8Array.from(atob(content), (character) => character.charCodeAt(0))], { type: head.slice(5).split(";")[0] });
}

// What is held, once what is being recorded is finished.
export async function finished() {
  if (capture) await finish();
  return held.blob;
}

export function hold(blob, name, seconds) {
  held = { blob, name, seconds };
  showHeld();
  const player = byId("player");
  if (player.src) URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(blob);
  player.hidden = false;
}

function showHeld() {
  byId("held").textContent = held ? say("chosen")(held.name || say("own"), held.seconds && number(held.seconds, 1)) : say("none");
}

export function translated() {
  if (capture) return;
  showHeld();
  byId("record").textContent = say("record");
}

// --- The field ---

export function fields() {
  const record = make("button", { id: "record", type: "button", class: "record" }, say("record"));
  const file = make("input", { id: "file", type: "file", accept: "audio/*,.flac,.ogg,.opus,.aiff", class: "file" });
  record.addEventListener("click", () => (capture ? finish() : begin()));
  file.addEventListener("change", () => { if (file.files.length) hold(file.files[0], file.files[0].name, null); });
  return [
    make("div", { class: "sound" },
      record,
      make("label", { class: "choose" }, make("span", { "data-say": "file" }, say("file")), file),
      make("span", { id: "held", class: "held", "aria-live": "polite" }, say("none"))),
    make("audio", { id: "player", controls: "", hidden: "" }),
  ];
}

function tell(message) {
  byId("error").hidden = !message;
  byId("error").textContent = message;
}

async function begin() {
  tell("");
  if (!navigator.mediaDevices?.getUserMedia) return tell(say("insecure"));
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  } catch {
    return tell(say("refused"));
  }
  const context = new AudioContext();
  await context.audioWorklet.addModule("/recorder.js");
  const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  const pieces = [];
  let samples = 0;
  node.port.onmessage = ({ data }) => {
    if (!capture) return; // what was under way when the recording was finished
    pieces.push(data);
    samples += data.length;
    byId("held").textContent = say("recording")(number(samples / context.sampleRate, 1));
  };
  context.createMediaStreamSource(stream).connect(node);
  capture = { stream, context, pieces };
  byId("record").textContent = say("finish");
  byId("record").classList.add("on");
}

async function finish() {
  const { stream, context, pieces } = capture;
  capture = null;
  stream.getTracks().forEach((track) => track.stop());
  const rate = context.sampleRate;
  await context.close();
  byId("record").textContent = say("record");
  byId("record").classList.remove("on");
  const samples = pieces.reduce((count, piece) => count + piece.length, 0);
  if (!samples) return showHeld();
  hold(wave(pieces, samples, rate), "", samples / rate);
}

// Samples as a WAV file of one channel, 16 bits.
function wave(pieces, samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples));
  const text = (at, value) => [...value].forEach((character, place) => view.setUint8(at + place, character.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples, true); text(8, "WAVEfmt "); view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); text(36, "data"); view.setUint32(40, 2 * samples, true);
  let at = 44;
  for (const piece of pieces) {
    for (const sample of piece) {
      view.setInt16(at, Math.max(-1, Math.min(1, sample)) * 32767, true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}

// --- The answer ---

export async function run(signal) {
  const form = new FormData();
  form.append("file", await finished(), held.name || "recording.wav");
  form.append("response_format", "verbose_json");
  for (const each of ["word", "segment"]) form.append("timestamp_granularities[]", each);
  const answer = await (await call(`/v1/${state.release.endpoint}`, form, signal)).json();
  state.answerId = answer.id;
  state.stats.last = performance.now();
  const seconds = number(answer.duration, 1);
  if (!answer.text) return show("", make("p", { class: "passage" }, say("silent")));
  const spoken = answer.words.map((word) => make("button", { type: "button", class: "word", title: `${time(word.start)} – ${time(word.end)}` }, word.word));
  spoken.forEach((element, place) => element.addEventListener("click", () => play(answer.words[place].start)));
  follow(answer.words, spoken);
  const parts = spoken.flatMap((element, place) => (place && spaced(answer.words[place - 1].word, answer.words[place].word) ? [" ", element] : [element]));
  const save = make("a", { class: "note", download: "transcript.srt", href: subtitles(answer.segments) }, say("save"));
  show(answer.text, make("p", { class: "passage spoken" }, ...parts),
    make("p", { class: "note below" }, say("said")(number(answer.words.length), seconds), " · ", save));
}

const unspaced = /[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]/;
const spaced = (before, after) => !(unspaced.test(before.at(-1)) && unspaced.test(after[0]));
const time = (seconds, mark = ".") => {
  const whole = Math.floor(seconds);
  const two = (value) => String(value).padStart(2, "0");
  return `${two(Math.floor(whole / 3600))}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}${mark}${String(Math.round(1000 * (seconds - whole))).padStart(3, "0")}`;
};

function subtitles(segments) {
  const cues = segments.map(({ start, end, text }, place) => `${place + 1}\n${time(start, ",")} --> ${time(end, ",")}\n${text}\n`);
  return URL.createObjectURL(new Blob([cues.join("\n")], { type: "application/x-subrip" }));
}

function play(seconds) {
  byId("player").currentTime = seconds;
  byId("player").play();
}

function follow(told, elements) {
  byId("player").ontimeupdate = ({ target }) => elements.forEach((element, place) => {
    const { start, end } = told[place];
    element.classList.toggle("heard", target.currentTime >= start - 0.1 && target.currentTime < end + 0.1);
  });
}

// --- From code ---

export const snippet = (_, { origin, key, head }) =>
  `${head}from openai import OpenAI\n\nclient = OpenAI(base_url="${origin}/v1", api_key=${key})\nwith open("recording.wav", "rb") as file:\n    answer = client.audio.transcriptions.create(model="${state.release.name}", file=file)\nprint(answer.text)`;
export const curl = ({ origin, key }) =>
  `curl ${origin}/v1/audio/transcriptions${key ? ' \\\n  -H "Authorization: Bearer $LODESTAR_API_KEY"' : ""} \\\n  -F file=@recording.wav -F response_format=srt`;
