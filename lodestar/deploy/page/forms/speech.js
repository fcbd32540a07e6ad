// A text, and how it sounds: a player, the picture of its sound with what is said under it, and the file.

import { byId, call, events, make, number, say, show, state } from "/kit.js";

export const words = {
  en: {
    label: "Your text", placeholder: "Write what is to be said, in English or Chinese…", run: "Say it",
    voice: "Voice", speed: "Speed", save: (seconds) => `Save ${seconds} s of sound (.wav)`,
    drawn: "The spectrogram: time to the right, frequency upwards, louder is brighter; below it, which sound is made when.",
  },
  zh: {
    label: "你的文本", placeholder: "写下要朗读的中文或英文……", run: "朗读",
    voice: "声音", speed: "语速", save: (seconds) => `保存 ${seconds} 秒声音（.wav）`,
    drawn: "频谱图：向右为时间，向上为频率，越亮越响；下方标出每个音的时刻。",
  },
};

// --- What is asked ---

export const exampleText = ({ input }) => input;
export const useExample = ({ voice }) => { byId("voice").value = voice; };
export const request = () => ({
  input: byId("input").value, voice: byId("voice").value, speed: Number(byId("speed").value), response_format: "wav",
});

export function fields() {
  const voices = state.release.choices.voices;
  const voice = make("select", { id: "voice" }, ...voices.map((name) => new Option(name, name)));
  const speed = make("input", { id: "speed", type: "range", min: "0.5", max: "2", step: "0.05", value: "1" });
  const shown = make("output", { for: "speed" }, "1");
  speed.addEventListener("input", () => { shown.textContent = number(speed.value, 2); });
  const field = (id, control, ...more) => make("span", { class: "choice" }, make("label", { for: id }, make("span", { "data-say": id }, say(id)), ...more), control);
  return [field("voice", voice), field("speed", speed, " ", shown)];
}

// --- The answer ---

export async function run(signal) {
  const pieces = [], sounds = [];
  let rate = 0;
  const asked = { ...request(), response_format: "pcm", stream_format: "sse" };
  for await (const event of events(await call(`/v1/${state.release.endpoint}`, asked, signal))) {
    if (event.type !== "speech.audio.delta") continue;
    state.answerId = event.id;
    state.stats.first ??= performance.now();
    rate = event.rate;
    pieces.push(samplesOf(event.audio));
    sounds.push(...event.sounds);
  }
  state.stats.last = performance.now();
  state.stats.first = null; // no token was written
  const samples = new Int16Array(pieces.reduce((count, piece) => count + piece.length, 0));
  pieces.reduce((at, piece) => { samples.set(piece, at); return at + piece.length; }, 0);
  draw(samples, sounds, rate);
}

const samplesOf = (base64) => new Int16Array(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer);

function draw(samples, sounds, rate) {
  const url = URL.createObjectURL(wave(samples, rate));
  const player = make("audio", { id: "player", controls: "", src: url });
  const picture = make("canvas", { class: "spectrogram", role: "img", "aria-label": say("drawn") });
  const seconds = samples.length / rate;
  const marks = make("div", { class: "sounds" }, ...sounds.filter(({ symbol }) => /[\p{L}]/u.test(symbol)).map(({ symbol, start, end }) => {
    const mark = make("button", { type: "button", class: "word", title: `${number(start, 2)} – ${number(end, 2)} s` }, symbol);
    mark.addEventListener("click", () => { player.currentTime = start; player.play(); });
    mark.dataset.start = start;
    mark.dataset.end = end;
    return mark;
  }));
  // A strip wide enough for every sound to be read; what is wider than the panel scrolls.
  const shortest = Math.min(...sounds.map(({ start, end }) => end - start));
  const width = Math.round(seconds * Math.min(Math.max(24 / shortest, 90), 320));
  const strip = make("div", { class: "strip" }, picture, marks);
  strip.style.width = `max(100%, ${width}px)`;
  for (const mark of marks.children) {
    mark.style.left = `${(100 * mark.dataset.start) / seconds}%`;
    mark.style.width = `${(100 * (mark.dataset.end - mark.dataset.start)) / seconds}%`;
  }
  player.ontimeupdate = () => {
    for (const mark of marks.children) mark.classList.toggle("heard", player.currentTime >= mark.dataset.start && player.currentTime < mark.dataset.end);
  };
  const save = make("a", { class: "note", download: "speech.wav", href: url }, say("save")(number(seconds, 1)));
  show(byId("input").value, player, make("div", { class: "scroll", tabindex: "0" }, strip), make("p", { class: "note below" }, say("drawn"), " ", save));
  paint(picture, samples, rate);
}

// --- The picture ---

const BINS = 128; // frequencies that are drawn
const COLORS = [[11, 16, 38], [49, 46, 129], [147, 51, 120], [232, 121, 74], [252, 223, 154]];

function paint(canvas, samples, rate) {
  const size = 2 * BINS * (rate > 12000 ? 2 : 1), columns = Math.min(1200, Math.max(200, Math.round((80 * samples.length) / rate)));
  const context = canvas.getContext("2d");
  canvas.width = columns;
  canvas.height = BINS;
  const image = context.createImageData(columns, BINS);
  const window = Float64Array.from({ length: size }, (_, place) => 0.5 - 0.5 * Math.cos((2 * Math.PI * place) / size));
  const loud = Float64Array.from({ length: columns * BINS });
  let loudest = 1;
  for (let column = 0; column < columns; column += 1) {
    const begin = Math.round((column / columns) * samples.length) - size / 2;
    const real = Float64Array.from({ length: size }, (_, place) => (samples[begin + place] ?? 0) * window[place]);
    const power = powers(real);
    for (let bin = 0; bin < BINS; bin += 1) {
      const each = size === 2 * BINS ? power[bin] : power[2 * bin] + power[2 * bin + 1];
      loud[column * BINS + bin] = each;
      loudest = Math.max(loudest, each);
    }
  }
  for (let column = 0; column < columns; column += 1) {
    for (let bin = 0; bin < BINS; bin += 1) {
      const decibels = 10 * Math.log10(loud[column * BINS + bin] / loudest + 1e-9);
      const shade = Math.min(Math.max((decibels + 65) / 65, 0), 0.9999) * (COLORS.length - 1);
      const [from, to] = [COLORS[Math.floor(shade)], COLORS[Math.floor(shade) + 1]];
      const at = 4 * ((BINS - 1 - bin) * columns + column);
      for (let part = 0; part < 3; part += 1) image.data[at + part] = from[part] + (shade % 1) * (to[part] - from[part]);
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

// The powers of a transform's lower half: a fast Fourier transform, radix 2, in place.
function powers(real) {
  const size = real.length, imaginary = new Float64Array(size);
  for (let place = 1, turned = 0; place < size; place += 1) {
    let bit = size >> 1;
    for (; turned & bit; bit >>= 1) turned ^= bit;
    turned ^= bit;
    if (place < turned) [real[place], real[turned]] = [real[turned], real[place]];
  }
  for (let span = 2; span <= size; span <<= 1) {
    for (let step = 0; step < span / 2; step += 1) {
      const angle = (-2 * Math.PI * step) / span, cosine = Math.cos(angle), sine = Math.sin(angle);
      for (let begin = step; begin < size; begin += span) {
        const other = begin + span / 2;
        const x = real[other] * cosine - imaginary[other] * sine, y = real[other] * sine + imaginary[other] * cosine;
        real[other] = real[begin] - x;
        imaginary[other] = imaginary[begin] - y;
        real[begin] += x;
        imaginary[begin] += y;
      }
    }
  }
  return Float64Array.from({ length: size / 2 }, (_, place) => real[place] ** 2 + imaginary[place] ** 2);
}

// Samples as a WAV file of one channel, 16 bits.
function wave(samples, rate) {
  const view = new DataView(new ArrayBuffer(44));
  const text = (at, value) => [...value].forEach((character, place) => view.setUint8(at + place, character.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt "); view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); text(36, "data"); view.setUint32(40, 2 * samples.length, true);
  return new Blob([view, samples], { type: "audio/wav" });
}

// --- From code ---

export const snippet = (body, { origin, key, head }) =>
  `${head}from openai import OpenAI\n\nclient = OpenAI(base_url="${origin}/v1", api_key=${key})\nanswer = client.audio.speech.create(\n    model="${state.release.name}", voice=${JSON.stringify(body.voice)}, input=${JSON.stringify(body.input)}, speed=${body.speed}, response_format="wav"\n)\nanswer.write_to_file("speech.wav")`;
export const curl = ({ origin, key }) => {
  const body = JSON.stringify(request()).replaceAll("'", "'\\''");
  return `curl ${origin}/v1/audio/speech -H 'Content-Type: application/json'${key ? ' \\\n  -H "Authorization: Bearer $LODESTAR_API_KEY"' : ""} \\\n  -d '${body}' --output speech.wav`;
};
