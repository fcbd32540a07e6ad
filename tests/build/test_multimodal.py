"""Files among tokens: towers against other libraries, and what the decoder does with what they saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lodestar.build.adapters import add_adapter
from lodestar.build.adapters.attach import adapted_layers
from lodestar.build.chat_template import FILE, Rendered, prompted
from lodestar.build.multimodal import MultimodalDecoder, PictureTower, SoundTower, answer_loss, answers
from lodestar.build.quantize import quantize
from lodestar.build.spectrogram import MelSettings
from lodestar.build.speech_encoder import SpeechEncoder
from lodestar.build.stems import PatchShape
from lodestar.build.towers import PictureEncoder
from lodestar.contracts.adapter import AdapterSettings
from lodestar.contracts.task import IGNORE
from lodestar.contracts.tokenizer import Tokenizer
from lodestar.model.config import ModelConfig, RotaryScaling
from lodestar.model.generate import generate
from lodestar.model.quantized import QuantizedLinear
from lodestar.prepare.exchange_files import SoundReader
from lodestar.prepare.tokenizer import train_tokenizer

RATE = 8_000
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["a star that stands still", "找那颗不动的星"], 280)


def encoder_config(context: int, position: Any = "none") -> ModelConfig:
    return ModelConfig(0, width=16, depth=1, heads=2, context=context, architecture="encoder", position=position, initial_std=0.3)


def picture_tower(merge: int, prefix: int = 0) -> PictureTower:
    shape = PatchShape(16, 16, 4, 4, prefix=prefix)
    return PictureTower(PictureEncoder(encoder_config(shape.tokens), shape, grid=True), merge)


def sound_tower(merge: int) -> SoundTower:
    return SoundTower(SpeechEncoder(encoder_config(200, "rotary"), MelSettings.at(RATE, 20)), merge)


def decoder(tokenizer: Tokenizer, tower: Any, **fields: Any) -> MultimodalDecoder:
    torch.manual_seed(0)
    shape = {"width": 24, "depth": 2, "heads": 2, "context": 96, "initial_std": 0.4, "qk_norm": True, **fields}
    return MultimodalDecoder(ModelConfig(tokenizer.vocabulary_size, **shape), tower, "mlp").eval()


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8))


def sounds(*seconds: float) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.normal(0, 0.1, round(each * RATE)).astype(np.float32) for each in seconds]


@pytest.mark.parametrize("prefix", [0, 1])
def test_squares_of_patches_are_torchs_pixel_unshuffle(prefix: int) -> None:
    tower = picture_tower(2, prefix)
    hidden_FSE = torch.randn(3, prefix + 16, 16)
    grid_FERK = hidden_FSE[:, prefix:].mT.unflatten(2, (4, 4))
    shuffled = F.pixel_unshuffle(grid_FERK, 2).unflatten(1, (16, 4)).permute(0, 3, 4, 2, 1)  # torch's channels come before the places
    torch.testing.assert_close(tower.merged(hidden_FSE), shuffled.reshape(-1, tower.width))


@pytest.mark.parametrize("merge", [1, 3, 4])
def test_a_recording_takes_the_positions_that_the_reader_says_alone_and_in_company(merge: int) -> None:
    torch.manual_seed(0)
    tower, reader = sound_tower(merge).eval(), SoundReader(RATE, 5.0, 2 * MelSettings.at(RATE, 20).hop, merge)
    recordings = sounds(0.31, 0.02, 1.2, 0.16)
    with torch.inference_mode():
        together = tower(*tower.stacked(recordings, CPU))
        alone = [tower(*tower.stacked([one], CPU)) for one in recordings]
    assert [len(one) for one in alone] == [reader.positions(one) for one in recordings]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_a_batch_of_recordings_is_what_its_rows_hold() -> None:
    tower, reader = sound_tower(4), SoundReader(RATE, 5.0, 160, 4)
    rows = [reader.rows(sounds(0.2, 0.1)), reader.rows([]), reader.rows(sounds(0.3))]
    batch = {
        name: nn.utils.rnn.pad_sequence([torch.from_numpy(row[name]) for row in rows], batch_first=True) for name in ("samples", "sounds")
    }
    found, mask = tower.gathered(batch)
    expected, lengths = tower.stacked([*sounds(0.2, 0.1), *sounds(0.3)], CPU)
    assert torch.equal(mask, lengths)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_what_was_seen_stands_in_its_places_and_nothing_else_changes(tokenizer: Tokenizer) -> None:
    model = decoder(tokenizer, picture_tower(2))
    ids = torch.randint(2, tokenizer.vocabulary_size, (2, 12))
    places = torch.zeros(2, 12, dtype=torch.bool)
    places[0, 2:6] = places[0, 7:11] = places[1, 1:5] = True
    files = model.tower.stacked(pictures(3), CPU)
    embedded = model.embed(ids, places, files)
    torch.testing.assert_close(embedded[~places], model.transformer.embed(ids)[~places])
    torch.testing.assert_close(embedded[places], model.projector(model.tower(*files)))
    assert torch.equal(embedded, model.embed(torch.where(places, 5, ids), places, files))  # ids in the places mean nothing
    places[1, 1] = False
    with pytest.raises(ValueError, match="the files take 12 positions, and 11 places are left for them"):
        model.embed(ids, places, files)


def test_only_the_answers_tokens_are_learnt_and_padding_is_not(tokenizer: Tokenizer) -> None:
    model = decoder(tokenizer, picture_tower(2))
    lengths, files = [11, 8], pictures(2)
    ids = [torch.randint(2, tokenizer.vocabulary_size, (length,)) for length in lengths]
    targets = [torch.cat((torch.full((length - 3,), IGNORE), torch.tensor([3, 4, 5]))) for length in lengths]
    places = [torch.arange(length).sub(1).lt(4) & torch.arange(length).ge(1) for length in lengths]
    pad = nn.utils.rnn.pad_sequence
    batch = {
        "tokens": pad(ids, True, 1), "targets": pad(targets, True, 0), "places": pad([one.long() for one in places], True, 0),
        "attention_mask": torch.arange(11) < torch.tensor(lengths)[:, None],
        "pixels": torch.from_numpy(np.stack(files))[:, None], "pixels_mask": torch.ones(2, 1, dtype=torch.bool),
    }  # fmt: skip
    loss, terms = answer_loss(model, batch)
    expected = 0.0
    for row in range(2):
        where = torch.tensor([[1 <= place < 5 for place in range(lengths[row])]])
        logits = model(ids[row][None], where, model.tower.stacked(files[row : row + 1], CPU))[0]
        expected += float(F.cross_entropy(logits[-3:], torch.tensor([3, 4, 5]), reduction="sum").detach())
    assert int(terms) == 6
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)


def greedy(model: MultimodalDecoder, prompt: Rendered, files: Sequence[np.ndarray], most: int, end: int) -> list[int]:
    """The likeliest tokens, all of it read again for each."""
    written: list[int] = []
    with torch.inference_mode():
        while len(written) < most:
            ids = torch.tensor([prompt.ids + written])
            places = torch.tensor([prompt.files + [False] * len(written)])
            token = int(model(ids, places, model.tower.stacked(files, CPU) if files else ())[0, -1].argmax())
            if token == end:
                break
            written.append(token)
    return written


def test_many_answers_with_a_cache_are_those_of_one_at_a_time_without(tokenizer: Tokenizer) -> None:
    model = decoder(tokenizer, picture_tower(2))
    texts = ["a star", "that stands still and", "星", "no picture at all"]
    files = [pictures(1, 1), pictures(2, 2), pictures(1, 3), []]
    prompts = [
        prompted([FILE] * len(held) + tokenizer.encode(text), [4] * len(held), tokenizer.pad)
        for text, held in zip(texts, files, strict=True)
    ]
    found = answers(model, tokenizer, prompts, files.__getitem__, 12, [tokenizer.end_of_text])
    expected = [
        tokenizer.decode(greedy(model, prompt, held, 12, tokenizer.end_of_text)) for prompt, held in zip(prompts, files, strict=True)
    ]
    assert found == expected
    assert len(set(found)) == len(found)
    # Another picture is another answer; one that does not fit is none.
    other = answers(model, tokenizer, prompts[:1], lambda _: pictures(1, 9), 12, [tokenizer.end_of_text])
    assert other != found[:1]
    long = prompted([FILE] * 25, [4] * 25, tokenizer.pad)
    assert answers(model, tokenizer, [long], lambda _: pictures(25), 12, [tokenizer.end_of_text]) == [""]


def test_embeddings_of_a_prompt_are_read_again_where_angles_turn(tokenizer: Tokenizer) -> None:
    """LongRoPE reads all again past its first context, with the files in it."""
    halves = tuple(1.0 + step / 3 for step in range(6))
    scaling = RotaryScaling("longrope", original_context=12, short_factors=halves, long_factors=tuple(3 * one for one in halves))
    model = decoder(tokenizer, picture_tower(2), rotary_scaling=scaling)
    prompt = prompted([5, FILE, 7, 8], [4], tokenizer.pad)
    ids, places = torch.tensor([prompt.ids]), torch.tensor([prompt.files])
    held = pictures(1)
    with torch.inference_mode():
        embeddings = model.embed(ids, places, model.tower.stacked(held, CPU))
    cached = generate(model.transformer, ids, 12, embeddings=embeddings)[0].tolist()
    assert cached == greedy(model, prompt, held, 12, -1)


def test_a_tower_that_is_frozen_gets_no_gradients_and_the_projector_does(tokenizer: Tokenizer) -> None:
    model = decoder(tokenizer, picture_tower(2)).train()
    ids, places = torch.tensor([[5, 1, 1, 1, 1, 6]]), torch.tensor([[False, True, True, True, True, False]])
    for frozen in (False, True):
        model.tower.requires_grad_(not frozen)
        model.zero_grad()
        model(ids, places, model.tower.stacked(pictures(1), CPU)).sum().backward()
        assert model.projector.first.weight.grad is not None
        assert all((parameter.grad is None) == frozen for parameter in model.tower.parameters())


def test_an_adapter_and_codes_are_of_the_decoder_and_what_is_new_trains_whole(tokenizer: Tokenizer) -> None:
    model = decoder(tokenizer, picture_tower(2))
    quantize(model, 8, group=8)
    coded = [place for place, module in model.named_modules() if isinstance(module, QuantizedLinear)]
    assert coded
    assert all(place.startswith("transformer.") for place in coded)
    adapted = decoder(tokenizer, picture_tower(2))
    add_adapter(adapted, AdapterSettings(rank=2))
    assert all(place.startswith("transformer.") for place in adapted_layers(adapted))


def test_each_file_becomes_as_many_positions_as_it_takes() -> None:
    rendered = Rendered([7, FILE, 8, FILE, 9], [False, False, True, False, True]).with_files([2, 3], 1)
    assert rendered.ids == [7, 1, 1, 8, 1, 1, 1, 9]
    assert rendered.assistant == [False] * 3 + [True] + [False] * 3 + [True]
    assert rendered.files == [False, True, True, False, True, True, True, False]
    assert replace(rendered).targets == [IGNORE, IGNORE, 8, IGNORE, IGNORE, IGNORE, 9, IGNORE]
