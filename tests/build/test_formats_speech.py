"""Whisper, wav2vec 2.0 and HuBERT, checked against transformers: what it saves we read with the same answers, and the other way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lodestar.build.formats import load_model, save_model
from lodestar.build.stems import MelStem, WaveShape, WaveStem
from lodestar.build.towers import CTCRecognizer, SoundEncoder, SpeechWriter
from lodestar.contracts.errors import UserError
from lodestar.model.config import ModelConfig
from lodestar.model.generate import generate

CLOSE: dict[str, Any] = {"atol": 1e-4, "rtol": 0.0}
"""Both compute in float32, in different orders."""
WHISPER: dict[str, Any] = {
    "vocab_size": 53, "num_mel_bins": 10, "d_model": 24, "encoder_layers": 2, "encoder_attention_heads": 3, "encoder_ffn_dim": 40,
    "decoder_layers": 2, "decoder_attention_heads": 3, "decoder_ffn_dim": 40, "max_source_positions": 15, "max_target_positions": 20,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3, "init_std": 0.3, "suppress_tokens": None,
    "begin_suppress_tokens": None,
}  # fmt: skip
SOUND: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "conv_dim": [8, 12, 12],
    "conv_kernel": [10, 3, 2], "conv_stride": [5, 2, 2], "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4,
    "initializer_range": 0.3, "vocab_size": 17, "pad_token_id": 0,
}  # fmt: skip


def saved(model: Any, folder: Path) -> Path:
    """A random model, whose norms and biases are no longer ones and zeros, as transformers writes it."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.eval().save_pretrained(folder)
    return folder


def round_trip(model: nn.Module, folder: Path) -> nn.Module:
    """Written by us and read by us again; bit for bit the same."""
    save_model(model, folder)
    again = load_model(folder)
    assert type(again) is type(model)
    assert all(torch.equal(one, other) for one, other in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    return again


def mel() -> Tensor:
    return torch.randn(2, 10, 30, generator=torch.Generator().manual_seed(2))


def whisper(folder: Path, **changes: Any) -> tuple[Any, SpeechWriter]:
    torch.manual_seed(0)
    theirs = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**{**WHISPER, **changes}))
    ours = load_model(saved(theirs, folder))
    assert isinstance(ours, SpeechWriter)
    return theirs, ours


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "encoder_layers": 3},
        {"activation_function": "relu", "tie_word_embeddings": False},
    ],
)
def test_whisper_answers_as_in_transformers(changes: dict[str, Any], tmp_path: Path) -> None:
    theirs, ours = whisper(tmp_path / "theirs", **changes)
    tokens = torch.tensor([[3, 8, 9, 30, 51], [3, 4, 4, 11, 20]])
    with torch.no_grad():
        reference = theirs(input_features=mel(), decoder_input_ids=tokens, output_hidden_states=True)
        memory = ours.transformer.encode(None, embeddings=ours.stem(mel()))
        torch.testing.assert_close(memory, reference.encoder_last_hidden_state, **CLOSE)
        torch.testing.assert_close(ours.transformer.hidden(tokens, memory=memory), reference.decoder_hidden_states[-1], **CLOSE)
        torch.testing.assert_close(ours(mel(), tokens), reference.logits, **CLOSE)
        round_trip(ours, tmp_path / "ours")
        again = transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path / "ours").eval()
        torch.testing.assert_close(again(input_features=mel(), decoder_input_ids=tokens).logits, reference.logits, **CLOSE)


def greedy(theirs: Any, prompt: Tensor, new: int) -> Tensor:
    """Their decoder with its cache, token by token; `generate` of Whisper adds timestamps' rules of its own."""
    encoded = theirs.model.encoder(mel()).last_hidden_state
    tokens, cache, step = prompt, None, prompt
    for _ in range(new):
        answer = theirs(encoder_outputs=(encoded,), decoder_input_ids=step, cache=cache, use_cache=True)
        cache, step = answer.cache, answer.logits[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat((tokens, step), dim=1)
    return tokens[:, prompt.shape[1] :]


def test_whisper_writes_token_for_token_what_transformers_writes(tmp_path: Path) -> None:
    theirs, ours = whisper(tmp_path / "theirs")
    prompt = torch.tensor([[3, 7, 12], [3, 5, 40]])
    with torch.no_grad():
        expected = greedy(theirs, prompt, 14)
        found = generate(ours.transformer, prompt, 14, source_embeddings=ours.stem(mel()))
    assert len(expected.unique()) > 3, "a text that repeats one token would prove little"
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


SOUNDS: dict[str, tuple[str, dict[str, Any]]] = {
    "group norm": ("ForCTC", {}),
    "stable, layer norm": ("ForCTC", {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}),
    "stable, group norm": ("Model", {"do_stable_layer_norm": True}),
    "no projection norm": ("ForCTC", {"feat_proj_layer_norm": False}),
    "odd positions": ("Model", {"num_conv_pos_embeddings": 7, "feat_extract_activation": "relu", "hidden_act": "gelu_new"}),
}


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name in ("Wav2Vec2", "Hubert") for case in SOUNDS if name == "Hubert" or "projection" not in case]
)
def test_wav2vec2_and_hubert_answer_as_in_transformers(name: str, case: str, tmp_path: Path) -> None:
    head, changes = SOUNDS[case]
    torch.manual_seed(0)
    theirs = getattr(transformers, f"{name}{head}")(getattr(transformers, f"{name}Config")(**{**SOUND, **changes}))
    ours = load_model(saved(theirs, tmp_path / "theirs"))
    assert type(ours) is (CTCRecognizer if head == "ForCTC" else SoundEncoder)
    samples = torch.randn(3, 400, generator=torch.Generator().manual_seed(2))
    mask = torch.arange(400) < torch.tensor([400, 280, 155])[:, None]
    samples = samples * mask
    bare = theirs if head == "Model" else getattr(theirs, name.lower())

    def answer(model: Any, mask: Tensor | None) -> Tensor:
        found = model(samples, attention_mask=None if mask is None else mask.long())
        return found.last_hidden_state if head == "Model" else found.logits

    with torch.no_grad():
        torch.testing.assert_close(ours.hidden(samples), bare(samples).last_hidden_state, **CLOSE)
        torch.testing.assert_close(ours(samples), answer(theirs, None), **CLOSE)
        real = ours.stem.frame_mask(mask)
        assert real.sum(-1).tolist() == theirs._get_feat_extract_output_lengths(mask.sum(-1)).tolist()
        torch.testing.assert_close(ours(samples, mask)[real], answer(theirs, mask)[real], **CLOSE)
        round_trip(ours, tmp_path / "ours")
        again = type(theirs).from_pretrained(tmp_path / "ours").eval()
        torch.testing.assert_close(answer(again, None), answer(theirs, None), **CLOSE)


def test_a_recording_answers_alone_as_beside_a_longer_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(**SOUND, do_stable_layer_norm=True, feat_extract_norm="layer")
    ours = load_model(saved(transformers.Wav2Vec2ForCTC(config), tmp_path / "theirs"))
    samples = torch.randn(2, 300, generator=torch.Generator().manual_seed(2))
    mask = torch.arange(300) < torch.tensor([300, 163])[:, None]
    with torch.no_grad():
        together, alone = ours(samples * mask, mask)[1], ours(samples[1:, :163])[0]
    torch.testing.assert_close(together[: len(alone)], alone, **CLOSE)


def test_names_of_older_checkpoints_are_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = saved(transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**SOUND)), tmp_path / "theirs")
    expected = load_model(folder).state_dict()
    old = load_file(folder / "model.safetensors")
    conv = "wav2vec2.encoder.pos_conv_embed.conv"
    old[f"{conv}.weight_g"] = old.pop(f"{conv}.parametrizations.weight.original0")
    old[f"{conv}.weight_v"] = old.pop(f"{conv}.parametrizations.weight.original1")
    del old["wav2vec2.masked_spec_embed"]  # as in facebook/wav2vec2-base-960h
    save_file(old, folder / "model.safetensors", metadata={"format": "pt"})
    found = load_model(folder).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def sound_config(**changes: Any) -> ModelConfig:
    fields: dict[str, Any] = {
        "vocabulary_size": 0, "width": 24, "depth": 2, "heads": 3, "context": 1 << 16, "architecture": "encoder", "position": "none",
        "norm": "layer", "norm_epsilon": 1e-5, "bias": True, "feed_forward": "gelu", "feed_forward_width": 40, **changes,
    }  # fmt: skip
    return ModelConfig(**fields)


WAVES = WaveShape((8, 12), (10, 3), (5, 2), position_kernel=8, position_groups=4)


@pytest.mark.parametrize("choice", ["post", "bare projection"])
def test_a_recognizer_trained_here_is_written_as_the_family_that_can_say_it(choice: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    if choice == "post":
        model = CTCRecognizer(sound_config(norm_place="post", embedding_norm=True), WAVES, 9).eval()
    else:
        shape = WaveShape((8, 12), (10, 3), (5, 2), norm="layer", projection_norm=False, position_kernel=8, position_groups=4)
        model = CTCRecognizer(sound_config(), shape, 9).eval()
    round_trip(model, tmp_path / "ours")
    architecture = json.loads((tmp_path / "ours" / "config.json").read_text())["architectures"][0]
    assert architecture.endswith("ForCTC")
    samples = torch.randn(2, 100, generator=torch.Generator().manual_seed(2))
    theirs = getattr(transformers, architecture).from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs(samples).logits, model(samples), **CLOSE)


def test_a_speech_writer_trained_here_is_written_as_whisper(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = sound_config(
        vocabulary_size=31, architecture="encoder-decoder", position="learned", context=12, source_context=15, decoder_depth=1,
        biased=("query", "value", "output", "feed_forward", "norm"),
    )  # fmt: skip
    model = SpeechWriter(config, 10).eval()
    round_trip(model, tmp_path / "ours")
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path / "ours").eval()
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
    with torch.no_grad():
        torch.testing.assert_close(theirs(input_features=mel(), decoder_input_ids=tokens).logits, model(mel(), tokens), **CLOSE)


def test_new_positions_have_the_length_that_their_direction_has() -> None:
    torch.manual_seed(0)
    positions = WaveStem(WAVES, 24).positions
    reference = nn.Conv1d(24, 24, 8, groups=4)
    with torch.no_grad():
        reference.weight.copy_(positions.direction)  # direction · magnitude / length is the direction itself at the start
        assert reference.bias is not None
        reference.bias.copy_(positions.bias)
        x = torch.randn(2, 11, 24, generator=torch.Generator().manual_seed(2))
        expected = nn.functional.gelu(reference(nn.functional.pad(x.mT, (4, 3)))).mT
        torch.testing.assert_close(positions(x), expected, **CLOSE)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"add_adapter": True}, "add_adapter is True, which Lodestar does not have"),
        ({"conv_stride": [5, 2]}, "have 3 channels, 3 kernels and 2 strides; give as many of each"),
        ({"feat_extract_norm": "batch"}, "the convolutions' norm is 'batch'; use group or layer"),
        ({"feat_extract_activation": "snake"}, "the activation 'snake' is not one that Lodestar has"),
    ],
)
def test_what_our_front_end_does_not_have_is_refused(fields: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = saved(transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SOUND)), tmp_path / "theirs")
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**written, **fields}))
    with pytest.raises(UserError, match=sentence):
        load_model(folder)


def test_too_short_a_recording_is_refused() -> None:
    with pytest.raises(ValueError, match="14 samples are too few for one frame"):
        WaveStem(WAVES, 24)(torch.zeros(1, 14))
    assert WAVES.frames(torch.tensor([3, 14, 20, 100])).tolist() == [0, 0, 1, 9]
    assert WaveStem(WAVES, 24)(torch.zeros(1, 20)).shape == (1, 1, 24)


def test_a_spectrogram_of_other_bands_is_refused() -> None:
    with pytest.raises(ValueError, match="the spectrogram has 80 mel bands, and the model reads 10"):
        MelStem(10, 24)(torch.zeros(1, 80, 30))
