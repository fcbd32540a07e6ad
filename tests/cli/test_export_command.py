"""`lodestar export`: what it writes is read by the programs it is for, and what cannot be written is one sentence."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import onnxruntime
import pytest
import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers, trainers

from lodestar import tasks
from lodestar.build.base import begin_from, derive_from, find_base
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.build.quantize import quantize
from lodestar.cli.main import main
from lodestar.contracts.settings import ModelSettings
from lodestar.model.config import ModelConfig
from lodestar.prepare.tokenizer import train_tokenizer

DOCS = Path(__file__).parents[2] / "docs"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SHAPE: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny chat model with random weights, as transformers saves it."""
    folder = tmp_path_factory.mktemp("open") / "tiny-llama"
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    marks = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(["Which way is north? Where the star stands still.", "哪边是北？"], trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=backend.get_vocab_size(), max_position_embeddings=64, initializer_range=0.3, bos_token_id=0, eos_token_id=1, **SHAPE
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier with random weights and no tokenizer."""
    folder = tmp_path_factory.mktemp("open") / "tiny-bert"
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=50, max_position_embeddings=32, initializer_range=0.3, num_labels=3, **SHAPE)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")


def export(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What the command prints."""
    capsys.readouterr()
    assert main(["export", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one sentence on standard error."""
    capsys.readouterr()
    assert main(["export", *map(str, arguments)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lodestar: ")]
    assert len(lines) == 1
    return lines[0]


def logits(folder: Path) -> torch.Tensor:
    """What transformers computes from a folder."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(torch.arange(24).view(2, 12)).logits


def own(folder: Path, task: str = "text-generation", *, bits: int | None = None, **changes: Any) -> Path:
    """A folder as releases are, with random weights and a tokenizer that Lodestar trained."""
    tokenizer = train_tokenizer(["Which way is north?"], 270)
    made = tasks.find(task)(state={"labels": ["no", "yes"]} if task == "classification" else None)
    config = ModelConfig(
        **{
            "vocabulary_size": tokenizer.vocabulary_size,
            "width": 64,
            "depth": 1,
            "heads": 2,
            "context": 32,
            **made.architecture(),
            **changes,
        }
    )
    torch.manual_seed(0)
    model = made.build(config)
    if bits is not None:
        quantize(model, bits)
    save_bundle(folder, Bundle(model, config, tokenizer, made.describe()))
    return folder


def test_a_t5_that_was_fine_tuned_goes_back_to_its_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no place for the context that a venture chooses, which is no part of its weights."""
    shape: Any = {"vocab_size": 300, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    theirs = transformers.T5ForConditionalGeneration(transformers.T5Config(**shape)).eval()
    theirs.save_pretrained(tmp_path / "t5")
    train_tokenizer(["Which way is north?"], 270).backend.save(str(tmp_path / "t5" / "tokenizer.json"))
    task = tasks.find("summarization")()
    task.adopt(tmp_path / "t5")
    base = find_base(str(tmp_path / "t5"), tmp_path)
    config = derive_from(base, ModelSettings(context=64), task.architecture(), None).config
    save_bundle(tmp_path / "v1", Bundle(begin_from(base, task, config, None), config, base.tokenizer, task.describe()))
    export(capsys, tmp_path / "v1", tmp_path / "out", "--format", "huggingface")
    again = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "out").eval()
    read = {"input_ids": torch.arange(12).view(2, 6), "decoder_input_ids": torch.arange(8).view(2, 4)}
    with torch.no_grad():
        torch.testing.assert_close(again(**read).logits, theirs(**read).logits)


def test_gguf_has_the_weights_the_tokenizer_and_the_chat_template(llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "made" / "m.gguf"
    told = export(capsys, llama, file, "--format", "gguf", "--kind", "f32")
    assert "gguf f32, " in told
    assert "Left out" not in told
    assert f"Next: llama-server -m {file}" in told
    reader = gguf.GGUFReader(file)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert (fields["general.architecture"], fields["tokenizer.chat_template"]) == ("llama", TEMPLATE)
    assert (fields["tokenizer.ggml.tokens"][:2], fields["tokenizer.ggml.eos_token_id"]) == (["<s>", "</s>"], 1)
    found = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    expected = transformers.AutoModelForCausalLM.from_pretrained(llama).state_dict()
    assert np.array_equal(found["token_embd.weight"], expected["model.embed_tokens.weight"].numpy())
    assert np.array_equal(found["blk.0.ffn_gate.weight"], expected["model.layers.0.mlp.gate_proj.weight"].numpy())
    value = json.loads(export(capsys, llama, tmp_path / "small.gguf", "--format", "gguf", "--json"))
    assert (value["format"], value["bytes"], value["left_out"]) == ("gguf q8_0", (tmp_path / "small.gguf").stat().st_size, [])
    assert value["bytes"] < file.stat().st_size / 2


def test_huggingface_gives_the_same_logits_and_conversations(llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = export(capsys, llama, tmp_path / "again", "--format", "huggingface")
    assert f"Next: lodestar chat {tmp_path / 'again'}, or python -c" in told
    assert torch.equal(logits(tmp_path / "again"), logits(llama))
    # An imported model is a folder of Lodestar's, and has to become an open one again.
    assert main(["import", str(llama), str(tmp_path / "mine")]) == 0
    told = export(capsys, tmp_path / "mine", tmp_path / "third", "--format", "huggingface")
    assert "Left out: the source's origin.json, task.json" in told
    assert torch.equal(logits(tmp_path / "third"), logits(llama))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "third")
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": "north?"}], add_generation_prompt=True, tokenize=False)
    assert rendered == "<s><|user|>north?<|end|><|assistant|>"
    stops = transformers.GenerationConfig.from_pretrained(tmp_path / "third").eos_token_id
    assert sorted(tokenizer.convert_ids_to_tokens(stops)) == ["</s>", "<|end|>"], "an answer ends with its turn"


def test_onnx_answers_as_transformers_does(bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = export(capsys, bert, tmp_path / "m.onnx", "--format", "onnx")
    assert f"Left out: the names of the classes: they are in {bert / 'config.json'}" in told
    tokens = torch.arange(14).view(2, 7)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    feeds = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": torch.zeros_like(tokens)}
    (found,) = session.run(None, {name: value.numpy() for name, value in feeds.items()})
    with torch.no_grad():
        expected = transformers.AutoModelForSequenceClassification.from_pretrained(bert).eval()(**feeds).logits
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-4, rtol=1e-4)  # float32 sums in another order


def test_a_quantised_release_is_written_as_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = export(capsys, own(tmp_path / "v1", bits=8), tmp_path / "hf", "--format", "huggingface")
    assert "The weights were codes, and were made numbers first." in told
    plain = own(tmp_path / "v0")
    export(capsys, plain, tmp_path / "plain", "--format", "huggingface")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "plain")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "plain")
    assert tokenizer.convert_ids_to_tokens([config.eos_token_id, config.pad_token_id]) == ["<|endoftext|>", "<|pad|>"]
    apart = (logits(tmp_path / "hf") - logits(tmp_path / "plain")).abs().max()
    assert 0 < apart < 0.05 * logits(tmp_path / "plain").abs().max()  # 8 bits are off by 1/254 of each group's largest weight


def test_a_release_that_no_other_program_can_say_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classifier = own(tmp_path / "v1", "classification", width=24)
    odd = own(tmp_path / "v2", norm_place="output")
    made = tmp_path / "made"
    assert "no open format can say all of the model's config" in refused(capsys, classifier, made, "--format", "huggingface")
    assert "GGUF export is for decoders, and this is a SequenceClassifier" in refused(capsys, classifier, made, "--format", "gguf")
    assert "llama.cpp has no architecture" in refused(capsys, odd, made, "--format", "gguf")
    assert not made.exists()


def test_a_tokenizer_that_llama_cpp_does_not_have_is_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = own(tmp_path / "v1")
    told = export(capsys, release, tmp_path / "m.gguf", "--format", "gguf")
    assert (
        "Left out: the tokenizer (llama.cpp does not split texts as the tokenizer does, which is compiled into it): make ids of texts with"
        in told
    )
    assert gguf.GGUFReader(tmp_path / "m.gguf").fields["tokenizer.ggml.model"].contents() == "none"
    monkeypatch.setenv("LODESTAR_LANGUAGE", "zh")
    told = export(capsys, release, tmp_path / "again.gguf", "--format", "gguf")
    assert "未写入：分词器" in told
    assert "下一步：" in told


def test_bad_input_is_one_sentence_and_writes_nothing(llama: Path, bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "made"
    assert "already exists; remove it" in refused(capsys, llama, tmp_path, "--format", "gguf")
    assert "'ggml' is not one of 'huggingface', 'gguf', 'onnx'" in refused(capsys, llama, made, "--format", "ggml")
    assert "missing option '--format'" in refused(capsys, llama, made)
    assert "ONNX export is for encoders of text, and this is a decoder" in refused(capsys, llama, made, "--format", "onnx")
    assert "GGUF export is for decoders" in refused(capsys, bert, made, "--format", "gguf")
    assert "no such folder" in refused(capsys, tmp_path / "none", made, "--format", "onnx")
    assert "--kind is of GGUF files" in refused(capsys, bert, made, "--format", "onnx", "--kind", "f16")
    assert not list(tmp_path.iterdir())


def test_the_guide_s_commands_run_as_written(
    llama: Path, bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    english, chinese = (
        re.findall(r"^lodestar (export .*)$", (DOCS / page).read_text("utf-8"), re.MULTILINE)
        for page in ("open-models.md", "open-models.zh.md")
    )
    assert english == chinese
    (tmp_path / "my-model").symlink_to(llama)
    (tmp_path / "my-encoder").symlink_to(bert)
    monkeypatch.chdir(tmp_path)
    for line in english:
        arguments = shlex.split(line)
        export(capsys, *arguments[1:])
        assert Path(arguments[2]).exists()
