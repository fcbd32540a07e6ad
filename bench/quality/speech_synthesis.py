"""Speech synthesis from recordings that espeak-ng makes: a round trip through a recogniser of ours, the vocoder beside Griffin and Lim's
algorithm, and how fast it speaks.

    python -m bench.quality.speech_synthesis --out runs/speech             # 45 minutes in all on two cores; goes on where it was cut off
    python -m bench.quality.speech_synthesis --out runs/few --sentences 40 --ear-minutes 0.3 --minutes 0.5

Data: sentences of a small grammar of the project's own (prepare/espeak.py), in English and Chinese, said by espeak-ng (`apt-get install
espeak-ng`), which is no person: what is measured is the way from text to understandable sound, not how a human voice is met. No two
sentences are alike, and none of the test is in training; all its words are. The recogniser learns from the same training recordings as the
synthesiser, and its own error on the test's recordings by espeak-ng is shown beside: the round trip could not be expected to have less.

Everything goes the product's way: prepare, train, evaluate. Intervals are 95 % bootstrap intervals over sentences; one seed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.rounds import machine
from lodestar import tasks
from lodestar.build.bundle import Bundle, load_bundle, save_bundle
from lodestar.build.griffin_lim import sound_of
from lodestar.build.sizes import derive
from lodestar.build.synthesis import SpeechSynthesizer, Spoken, sound_of_spoken
from lodestar.contracts.clock import seconds
from lodestar.contracts.errors import UserError
from lodestar.contracts.meter import versions
from lodestar.contracts.progress import track
from lodestar.contracts.randomness import derive_seed
from lodestar.contracts.record import Scorecard
from lodestar.contracts.score import Score
from lodestar.contracts.settings import DataSettings, EvaluateSettings, ModelSettings, TrainSettings
from lodestar.contracts.task import Task
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.evaluate.bootstrap import scores
from lodestar.evaluate.error_rate import CER, WER
from lodestar.evaluate.mel_cepstral import MCD, Saying, columns
from lodestar.evaluate.scorecard import evaluate
from lodestar.prepare import Sequential, make_loader, open_split, prepare
from lodestar.prepare.espeak import grammar, say
from lodestar.store.files import write_atomic
from lodestar.tasks.speech_synthesis import SpeechSynthesis
from lodestar.train.loop import train

VOICES = {"en": "en-us", "zh": "cmn"}
TEST = 0.1
"""The share of the sentences that judges."""
CONTEXT = {"speech-recognition": 320, "speech-synthesis": 480}
"""Frames: of 20 ms, and of 12.5 ms; six seconds."""
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "speech-recognition": {"rate": 16_000, "masks": 1, "beams": 8}, "speech-synthesis": {"rate": 16_000},
}  # fmt: skip
MODEL: Mapping[str, Mapping[str, Any]] = {
    "speech-recognition": {"depth": 3, "width": 128, "heads": 4}, "speech-synthesis": {"depth": 3, "width": 128, "heads": 4},
}  # fmt: skip
TRAIN: Mapping[str, Mapping[str, Any]] = {
    "speech-recognition": {"batch_tokens": 16 * 320, "learning_rate": 0.008, "ema": 0.99},
    "speech-synthesis": {"batch_tokens": 16 * 480, "learning_rate": 0.006, "ema": 0.99},
}  # fmt: skip


def record(folder: Path, sentences: int) -> None:
    """The recordings and two tables of them, where they are not there yet."""
    if (folder / "test.jsonl").exists():
        return
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for language, voice in VOICES.items():
        texts = grammar(language, sentences)
        held_out = round(TEST * sentences)
        for place, text in enumerate(track(texts, f"espeak-ng {language}", "sentence")):
            name = f"wav/{language}-{place}.wav"
            write_atomic(folder / name, say(text, voice=voice))
            split = "test" if place < held_out else "train"
            lines[split].append(json.dumps({"audio": name, "text": text, "voice": language}, ensure_ascii=False))
    for name, each in lines.items():
        write_atomic(folder / f"{name}.jsonl", ("\n".join(each) + "\n").encode())


def learn(task: Task, data: Path, folder: Path, minutes: float, seed: int) -> tuple[Task, nn.Module, Tokenizer, Mapping[str, Any]]:
    """Prepare and train, where that is not done yet."""
    context, name = CONTEXT[task.name], task.name
    settings = DataSettings(sources=["train.jsonl"], splits={"test": ["test.jsonl"]}, validation=0.05, vocabulary=400)
    prepare(task, settings, data, folder / "data", seed=seed, context=context)
    tokenizer, split = Tokenizer.load(folder / "data"), open_split(folder / "data", "train")
    shape = ModelSettings(size="tiny", context=context, overrides=dict(MODEL[name]))
    config = derive(shape, task.architecture(), tokenizer.vocabulary_size).config
    batch = int(TRAIN[name]["batch_tokens"])
    plan = TrainSettings(**TRAIN[name], micro_batch_tokens=batch, minutes=minutes, seed=seed)
    torch.manual_seed(derive_seed(seed, "model", name))
    rows: dict[str, Any] = {"rows": batch // context, "context": context, "pad": tokenizer.pad}
    validation = Sequential(open_split(folder / "data", "validation"), task.batching, **rows)

    def save(model: nn.Module, place: Path) -> None:
        save_bundle(place, Bundle(model, config, tokenizer, task.describe()))

    loader = make_loader(split, task.batching, seed=seed, **rows)
    done = train(task, task.build(config), loader, lambda: validation, plan, folder / "train", save=save)
    model = load_bundle(folder / "train" / "model", lambda _, config: task.build(config)).model
    facts = {**done.facts, "passes": int(done.facts["tokens"]) / split.all_tokens, "minutes": done.cost.seconds / 60}
    return task, model, tokenizer, facts


def vocoders(task: SpeechSynthesis, model: nn.Module, examples: Sequence[Any]) -> None:
    """The same spectrograms, those of the test's recordings and those that the model makes, through either way to sound."""
    assert isinstance(model, SpeechSynthesizer)
    sayable = [each for each in examples if _is_sayable(task, each.text)]
    if len(sayable) < len(examples):
        print(
            f"\n{len(examples) - len(sayable)} of {len(examples)} test sentences hold a sound that no training sentence has; left out below"
        )
    examples = sayable
    print("\n| spectrogram of | made sound by | mel-cepstral distortion | word error rate | real-time factor of this part |")
    print("|---|---|---|---|---|")
    for kind in ("recording", "model"):
        spoken = [_of_recording(task, model, each) if kind == "recording" else _of_model(task, model, each) for each in examples]
        for name in ("the vocoder", "Griffin and Lim"):
            heard, texts, work, sound = [], [], 0.0, 0.0
            for each, example in zip(track(spoken, f"{kind}, {name}", "sentence"), examples, strict=True):
                begin = seconds()
                samples = _sound(model, each, name)
                work, sound = work + seconds() - begin, sound + len(samples) / task.chosen.rate
                wanted = task.log_mel(task.spoken(example.audio)[0])
                again = task.log_mel(samples)
                heard.append(Saying(again, again, wanted))
                texts.append(task.hear(samples))
            distortion, errors = _score(MCD, columns(heard)), _score(WER, _errors(texts, examples))
            print(f"| the {kind} | {name} | {_shown(distortion)} dB | {_percent(errors)} | {work / sound:.3f} |", flush=True)


def _is_sayable(task: SpeechSynthesis, text: str) -> bool:
    try:
        return len(task.said(text)) > 2
    except UserError:
        return False


def _of_recording(task: SpeechSynthesis, model: SpeechSynthesizer, example: Any) -> Spoken:
    samples, pitch = task.spoken(example.audio)
    return model.analysed(samples, pitch)


def _of_model(task: SpeechSynthesis, model: SpeechSynthesizer, example: Any) -> Spoken:
    return task.reader(model, example.voice).speak(task.said(example.text))


def _sound(model: SpeechSynthesizer, spoken: Spoken, name: str) -> np.ndarray:
    if name == "the vocoder":
        return sound_of_spoken(model, spoken)
    with torch.inference_mode():
        samples: np.ndarray = sound_of(model.log_mel(spoken.frames.mel), model.front)[0].numpy()
    return samples


def _errors(texts: Sequence[str], examples: Sequence[Any]) -> dict[str, np.ndarray]:
    from lodestar.evaluate.error_rate import columns as error_columns

    return error_columns(texts, [example.text for example in examples])


def _score(metric: Any, found: Mapping[str, np.ndarray]) -> Score:
    (score,) = scores([metric], found, resamples=2_000, confidence=0.95, seed=0)
    return score


def _shown(score: Score) -> str:
    return f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}]"


def _percent(score: Score) -> str:
    return f"{score.value:.1%} [{score.low:.1%}, {score.high:.1%}]"


def ear(folder: Path, task: Task, model: nn.Module, tokenizer: Tokenizer, facts: Mapping[str, Any]) -> None:
    """What the recogniser makes of the test's own recordings."""
    examples = list(open_split(folder / "data", "test").examples(task))
    found = task.measure(model, tokenizer, examples)
    print(
        f"\nrecogniser: {facts['parameters']:,} parameters, {facts['passes']:.0f} passes in {facts['minutes']:.1f} minutes; of the "
        f"{len(examples)} test recordings: word error rate {_percent(_score(WER, found))}, characters {_percent(_score(CER, found))}",
        flush=True,
    )


def mouth(card: Scorecard, facts: Mapping[str, Any]) -> None:
    """The synthesiser's scorecard."""
    print(f"\nsynthesiser: {facts['parameters']:,} parameters, {facts['passes']:.0f} passes in {facts['minutes']:.1f} minutes")
    print(f"\n| metric | ours | {card.baseline_name} |\n|---|---|---|")
    beside = {score.metric: _shown(score) for score in card.baseline}
    for score in card.scores:
        unit = f" {score.unit}" if score.unit else ""
        value = f"{score.value:.3g} [{score.low:.3g}, {score.high:.3g}]"
        print(f"| {score.metric} | {value}{unit} | {beside.get(score.metric, '')} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="keeps the work there, and goes on with it; else in a folder that is removed")
    parser.add_argument("--sentences", type=int, default=600, help="of either language; a tenth judges")
    parser.add_argument("--ear-minutes", type=float, default=14.0, help="of the recogniser's training")
    parser.add_argument("--minutes", type=float, default=25.0, help="of the synthesiser's training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(machine(versions("torch", "numpy", "pypinyin"), seed=arguments.seed), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary)
        recordings = folder / f"recordings-{arguments.sentences}"
        record(recordings, arguments.sentences)
        hearing = tasks.find("speech-recognition")(OPTIONS["speech-recognition"])
        ear(folder / "ear", *learn(hearing, recordings, folder / "ear", arguments.ear_minutes, arguments.seed))
        recognizer = str((folder / "ear" / "train" / "model").resolve())
        speaking = tasks.find("speech-synthesis")({**OPTIONS["speech-synthesis"], "recognizer": recognizer})
        assert isinstance(speaking, SpeechSynthesis)
        task, model, tokenizer, facts = learn(speaking, recordings, folder / "mouth", arguments.minutes, arguments.seed)
        examples = {name: list(open_split(folder / "mouth" / "data", name).examples(task)) for name in ("train", "test")}
        settings = EvaluateSettings(resamples=2_000)
        mouth(evaluate(task, model, tokenizer, examples["test"], examples["train"], settings, folder / "evaluate"), facts)
        vocoders(speaking, model, examples["test"])


if __name__ == "__main__":
    main()
