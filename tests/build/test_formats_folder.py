"""Folders that cannot be read are refused in one sentence, before a weight is; and what lies beside the weights stays with them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lodestar import ModelConfig, Transformer, UserError, generate, load_model, save_model
from lodestar.build.formats.family import families
from lodestar.build.formats.folder import CONFIG, INDEX, WEIGHTS, origin_of
from lodestar.model.config import RotaryScaling
from lodestar.prepare.tokenizer import train_tokenizer

LLAMA = ModelConfig(97, 24, 2, 4, 32, key_value_heads=2, tied_embeddings=False, feed_forward_width=40)
GPT2 = ModelConfig(
    97, 24, 2, 4, 32, position="learned", norm="layer", bias=True, feed_forward="gelu-tanh", norm_epsilon=1e-5
)  # fmt: skip
GEMMA = ModelConfig(
    97, 24, 2, 4, 32, norm_place="sandwich", scaled_embeddings=True, feed_forward="geglu-tanh", attention_cap=50.0, logit_cap=30.0,
    attention_scale=0.25, layer_windows=(4, None),
)  # fmt: skip


def write(folder: Path, config: ModelConfig = LLAMA, **choices: Any) -> Path:
    torch.manual_seed(0)
    model = Transformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    save_model(model, folder, **choices)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "model")


def change_config(folder: Path, **fields: Any) -> None:
    file = folder / CONFIG
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS).items()}
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def remove(table: dict[str, Any], *names: str) -> None:
    for name in names:
        del table[name]


def change_header(folder: Path, change: Callable[[dict[str, Any]], None], padding: int = 0) -> None:
    content = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode() + b" " * padding
    (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def read(folder: Path, **choices: Any) -> Transformer:
    model = load_model(folder, **choices)
    assert isinstance(model, Transformer)
    return model


def weight(model: Transformer, module: str) -> torch.Tensor:
    return model.get_parameter(f"{module}.weight")


def refused(folder: Path | str, sentence: str, **choices: Any) -> None:
    """Loading ends with one sentence that matches, and nothing else."""
    with pytest.raises(UserError) as caught:
        load_model(folder, **choices)
    assert re.search(sentence, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.fix or caught.value.where


def test_no_folder_a_file_and_an_empty_folder(folder: Path, tmp_path: Path) -> None:
    refused(tmp_path / "none", "no such folder; name the folder that holds config.json")
    refused(folder / CONFIG, "is a file, not a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "has no config.json")
    refused(folder, "a folder has no revision", revision="main")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "last.ckpt"])
def test_pickled_weights_are_refused_with_the_reason_and_the_way_out(folder: Path, name: str) -> None:
    (folder / WEIGHTS).rename(folder / name)
    refused(folder, r"pickled .* runs whatever code is in it; convert .*python -c .*save_pretrained\(.*-safe'\)")


def test_a_folder_without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    refused(folder, r"has no weights \(model.safetensors\)")


def test_damaged_configs(folder: Path) -> None:
    (folder / CONFIG).write_text("[]")
    refused(folder, "it holds list, not fields")
    (folder / CONFIG).write_text("{")
    refused(folder, "config.json:1: the file is damaged")


def test_an_unknown_architecture_is_answered_with_the_nearest_and_all(folder: Path) -> None:
    change_config(folder, architectures=["LlamaForCausalML"])
    refused(folder, "'LlamaForCausalML' is unknown; the nearest known one is LlamaForCausalLM, and all are .*GPT2LMHead.*Qwen2ForCausalLM")
    change_config(folder, architectures=None, model_type="llamma")
    refused(folder, "'llamma' is unknown")


def test_the_model_type_serves_where_no_architecture_is_named(folder: Path) -> None:
    change_config(folder, architectures=None)
    read(folder)


def test_what_a_config_may_not_say(folder: Path, tmp_path: Path) -> None:
    change_config(folder, hidden_act="mish")
    refused(folder, "config.json: the activation 'mish' is not one that Lodestar has; use one of")
    change_config(folder, hidden_act="silu", rope_scaling={"rope_type": "axial"})
    refused(folder, "the rotary scaling 'axial' is not one")
    change_config(folder, rope_scaling=None, num_attention_heads=5, head_dim=None)
    refused(folder, "does not divide width")
    gpt2 = write(tmp_path / "gpt2", GPT2)
    change_config(gpt2, scale_attn_by_inverse_layer_idx=True)
    refused(gpt2, "scale_attn_by_inverse_layer_idx is True, which Lodestar does not have")
    fields = json.loads((folder / CONFIG).read_text())
    del fields["hidden_size"]
    (folder / CONFIG).write_text(json.dumps(fields))
    refused(folder, "the field 'hidden_size' is missing")


def test_quantised_checkpoints_are_refused(folder: Path) -> None:
    change_config(folder, quantization_config={"quant_method": "gptq", "bits": 4})
    refused(folder, r"the weights are quantised \(gptq\), and only plain ones are read; take the checkpoint that it was made from")


def test_missing_and_extra_tensors_are_named(folder: Path) -> None:
    change_tensors(folder, lambda tensors: remove(tensors, *(name for name in tensors if "mlp" in name)))
    refused(folder, "'model.layers.0.mlp.down_proj.weight', '[^']*', '[^']*' and 3 more are missing")


def test_an_extra_tensor_is_named(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({"model.layers.0.self_attn.sinks": torch.zeros(4)}))
    refused(folder, "'model.layers.0.self_attn.sinks' is unknown to its config")


def test_wrong_shapes_are_named(folder: Path) -> None:
    change_config(folder, intermediate_size=44)
    one = r"'model.layers.0.mlp.gate_proj.weight' has the shape \[40, 24\], and config.json says \[44, 24\]"
    refused(folder, f"{one};.*and 3 more tensors differ")


def test_buffers_of_older_checkpoints_are_ignored(folder: Path, tmp_path: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(3)}))
    read(folder)
    gpt2 = write(tmp_path / "gpt2", GPT2)
    before = read(gpt2).state_dict()

    def as_of_old(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["h.0.attn.bias"], tensors["h.1.attn.masked_bias"] = torch.ones(1, 1, 32, 32), torch.tensor(-1e4)

    change_tensors(gpt2, as_of_old)
    after = read(gpt2).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_a_number_is_found(folder: Path, value: float) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"][-1] = value

    change_tensors(folder, spoil)
    refused(folder, "'model.norm.weight' holds NaN or infinity")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_one_in_the_middle_is_found_when_all_are_looked_at(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = write(tmp_path / "model", ModelConfig(1_000, 24, 1, 4, 32, tied_embeddings=False, feed_forward_width=40))

    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"][500, 3] = torch.nan
        tensors.update({name: tensor.to(dtype) for name, tensor in tensors.items()})

    change_tensors(folder, spoil)
    read(folder)
    refused(folder, "'lm_head.weight' holds NaN or infinity", check=True)


def test_truncated_files(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    for length, sentence in (
        (len(content) - 1, "truncated: it has"), (200, "truncated, or no safetensors file"), (5, "it has 5 bytes"), (0, "it has 0 bytes")
    ):  # fmt: skip
        (folder / WEIGHTS).write_bytes(content[:length])
        refused(folder, sentence)
    (folder / WEIGHTS).write_bytes(content + b"more")
    refused(folder, "4 bytes follow the last tensor")


def test_headers_that_are_none(folder: Path) -> None:
    for content, sentence in (
        (b"\xff" * 8 + b"{}", "its header says 18446744073709551615 bytes"),
        ((4).to_bytes(8, "little") + b"\xff\xff{}", "its header is not JSON"),
        ((2).to_bytes(8, "little") + b"[]", "its header is not a table"),
        ((15).to_bytes(8, "little") + b'{"a":{},"a":{}}', "its header is not JSON"),
    ):
        (folder / WEIGHTS).write_bytes(content)
        refused(folder, sentence)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("data_offsets", [0, 96 * 10**9], "has 96000000000 bytes, and its shape .* needs 96"),
        ("data_offsets", [-96, 0], "the shape or place of 'model.norm.weight' is no number"),
        ("data_offsets", [0, 96], "overlaps"),
        ("data_offsets", [1.5, 97.5], "is no number"),
        ("data_offsets", None, "in no known way"),
        ("shape", [2**62, 2**62], "needs"),
        ("shape", [True, 24], "is no number"),
        ("shape", "24", "is no number"),
        ("dtype", "F33", "of the number type 'F33'"),
        ("dtype", ["F32"], "of the number type"),
    ],
)
def test_lying_headers(folder: Path, field: str, value: Any, sentence: str) -> None:
    change_header(folder, lambda header: header["model.norm.weight"].update({field: value}))
    refused(folder, sentence)


def test_a_gap_in_the_file(folder: Path) -> None:
    change_header(folder, lambda header: remove(header, "model.norm.weight"))
    refused(folder, "nothing tells what stands before|bytes follow the last tensor")


def test_numbers_at_odd_places_are_read(folder: Path) -> None:
    before = {name: tensor.clone() for name, tensor in read(folder).state_dict().items()}
    change_header(folder, lambda header: None, padding=3)
    after = read(folder).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_shards_and_their_index(tmp_path: Path) -> None:
    whole, parts = write(tmp_path / "whole"), write(tmp_path / "parts", shard_bytes=6_000)
    files = sorted(file.name for file in parts.glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    index = json.loads((parts / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in load_file(whole / WEIGHTS).values())
    one, other = read(whole).state_dict(), read(parts).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    shutil.copy(parts / files[0], parts / "model-again.safetensors")
    names = {**index["weight_map"], "model.norm.weight": "model-again.safetensors"}
    (parts / INDEX).write_text(json.dumps({"weight_map": names}))
    refused(parts, "stands in .*, too")
    (parts / INDEX).write_text(json.dumps({"weight_map": {"lm_head.weight": "../whole/model.safetensors"}}))
    refused(parts, "which is not a file of this folder")
    (parts / INDEX).write_text(json.dumps({"weight_map": {"lm_head.weight": "model-9.safetensors"}}))
    refused(parts, "the folder has no model-9.safetensors")
    (parts / INDEX).write_text("{}")
    refused(parts, "it has no weight_map")


def test_a_tied_output_may_stand_in_the_file_or_not(folder: Path) -> None:
    embedding = load_file(folder / WEIGHTS)["model.embed_tokens.weight"]
    change_config(folder, tie_word_embeddings=True)
    change_tensors(folder, lambda tensors: remove(tensors, "lm_head.weight"))
    model = read(folder)
    assert model.config.tied_embeddings
    change_tensors(folder, lambda tensors: tensors.update({"lm_head.weight": embedding.clone()}))
    assert torch.equal(weight(read(folder), "embedding"), embedding)
    change_tensors(folder, lambda tensors: remove(tensors, "model.embed_tokens.weight"))
    assert torch.equal(weight(read(folder), "embedding"), embedding)


def test_an_output_that_differs_is_not_tied_whatever_the_config_says(folder: Path, tmp_path: Path) -> None:
    change_config(folder, tie_word_embeddings=True)
    model = read(folder)
    assert not model.config.tied_embeddings
    assert torch.equal(weight(model, "output"), load_file(folder / WEIGHTS)["lm_head.weight"])
    save_model(model, tmp_path / "again")
    assert json.loads((tmp_path / "again" / CONFIG).read_text())["tie_word_embeddings"] is False


def test_the_tokenizer_may_not_have_more_ids_than_the_embedding(folder: Path) -> None:
    tokenizer = train_tokenizer(["a text"], 258)
    (folder / "tokenizer.json").write_text(tokenizer.to_json())
    refused(folder, "the tokenizer has 258 ids, and the model's embedding has 97 rows")


def test_what_lies_beside_the_weights_comes_back(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", ModelConfig(300, 24, 1, 4, 32), tokenizer=train_tokenizer(["a text"], 258))
    beside = {
        "generation_config.json": '{"eos_token_id": [0, 1]}', "chat_template.jinja": "{{ messages }}", "merges.txt": "a b",
        "tokenizer_config.json": "{}", "LICENSE": "as it was", "tokenizer.model": "\0",
    }  # fmt: skip
    for name, content in beside.items():
        (folder / name).write_text(content)
    for name in ("training_args.bin", "README.md", "notes.csv"):
        (folder / name).write_text("not the model's")
    model = read(folder)
    save_model(model, tmp_path / "again")
    assert {file.name for file in (tmp_path / "again").iterdir()} == {CONFIG, WEIGHTS, "tokenizer.json", *beside}
    assert all((tmp_path / "again" / name).read_text() == content for name, content in beside.items())
    (folder / "merges.txt").unlink()
    with pytest.raises(UserError, match="the file is gone since the model was read"):
        save_model(model, tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_saving_does_not_overwrite_unless_told(folder: Path) -> None:
    model = read(folder)
    with pytest.raises(UserError, match="already exists"):
        save_model(model, folder)
    with torch.no_grad():
        weight(model, "decoder.norm").fill_(2.0)
    save_model(model, folder, replace=True)
    assert read(folder).state_dict()["decoder.norm.weight"].tolist() == [2.0] * 24


def test_the_origin_knows_the_weights_by_their_hash(folder: Path, tmp_path: Path) -> None:
    origin = origin_of(read(folder))
    assert origin is not None
    assert (origin.family, origin.source, origin.revision) == ("llama", str(folder), None)
    copy = shutil.copytree(folder, tmp_path / "copy")
    other = origin_of(read(copy))
    assert other is not None
    assert origin.weights_sha256 == other.weights_sha256
    late = origin_of(read(copy))
    assert late is not None

    def double(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"] *= 2

    change_tensors(copy, double)
    with pytest.raises(UserError, match="have changed since the model was read"):
        _ = late.weights_sha256
    changed = origin_of(read(copy))
    assert changed is not None
    assert changed.weights_sha256 != origin.weights_sha256
    assert origin_of(Transformer(LLAMA)) is None


def test_training_in_place_leaves_the_file_as_it_was(folder: Path) -> None:
    before = (folder / WEIGHTS).read_bytes()
    model = read(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert (folder / WEIGHTS).read_bytes() == before


def test_weights_are_converted_when_told(folder: Path) -> None:
    model = read(folder, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    whole = read(folder)
    assert torch.equal(weight(model, "output"), weight(whole, "output").bfloat16())


def test_gemma_norms_keep_their_low_bits(tmp_path: Path) -> None:
    folder = write(tmp_path / "gemma", GEMMA)
    change_tensors(folder, lambda tensors: tensors.update({name: (tensor * 0.01).bfloat16() for name, tensor in tensors.items()}))
    model = read(folder)
    assert weight(model, "decoder.norm").dtype == torch.float32
    assert weight(model, "embedding").dtype == torch.bfloat16
    assert generate(model, torch.zeros(1, 3, dtype=torch.long), 3).shape == (1, 3)
    save_model(model, tmp_path / "again")
    before, after = load_file(folder / WEIGHTS), load_file(tmp_path / "again" / WEIGHTS)
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=2**-24)  # what float32 resolves beside 1


def test_a_seeing_gemma_gives_its_text_part(tmp_path: Path) -> None:
    config = ModelConfig(
        97, 24, 2, 4, 32, norm_place="sandwich", scaled_embeddings=True, feed_forward="geglu-tanh", attention_scale=0.25, qk_norm=True,
        layer_windows=(4, None), local_rotary_base=10_000.0, rotary_base=1e6, rotary_scaling=RotaryScaling("linear", 8.0),
    )  # fmt: skip
    folder = write(tmp_path / "gemma", config)
    text = read(folder)
    fields = json.loads((folder / CONFIG).read_text())
    seeing = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": fields, "vision_config": {}}
    (folder / CONFIG).write_text(json.dumps(seeing))

    def wrap(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            tensors[f"language_model.{name}"] = tensors.pop(name)
        tensors["vision_tower.vision_model.embeddings.patch_embedding.bias"] = torch.zeros(4)
        tensors["multi_modal_projector.mm_input_projection_weight"] = torch.zeros(4)

    change_tensors(folder, wrap)
    model = read(folder)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in text.state_dict().items())
    save_model(model, tmp_path / "text")
    assert json.loads((tmp_path / "text" / CONFIG).read_text())["architectures"] == ["Gemma3ForCausalLM"]


def test_a_model_with_more_than_its_config_says_is_not_written(folder: Path, tmp_path: Path) -> None:
    model = read(folder)
    model.decoder.blocks[0].register_parameter("adapter", torch.nn.Parameter(torch.zeros(2)))  # type: ignore[union-attr]
    with pytest.raises(UserError, match=r"'decoder.blocks.0.adapter' is more; merge its adapters"):
        save_model(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_of_no_open_shape_is_refused(tmp_path: Path) -> None:
    model = Transformer(ModelConfig(97, 24, 1, 4, 32, feed_forward="relu2", position="none"))
    with pytest.raises(UserError, match="no open format can say all of the model's config"):
        save_model(model, tmp_path / "out")
    with pytest.raises(UserError, match="the format of llama cannot say the model's"):
        save_model(model, tmp_path / "out", family="llama")
    with pytest.raises(UserError, match="unknown family 'lama'; did you mean 'llama'"):
        save_model(model, tmp_path / "out", family="lama")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_names_of_families_are_unique(family: Any) -> None:
    others = [other for other in families() if other is not family]
    assert not set(family.architectures) & {name for other in others for name in other.architectures}
    assert family.name not in {name for other in others for name in (other.name, *other.model_types)}
