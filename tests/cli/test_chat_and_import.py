"""`lodestar import` and `lodestar chat`, one command each, on what transformers saves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from lodestar.build.opening import open_bundle
from lodestar.cli._opening import task_for
from lodestar.cli.main import cli, main


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")


def lodestar(*arguments: str | Path, typed: str = "") -> Any:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=typed, catch_exceptions=False)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one sentence on standard error."""
    assert main([str(argument) for argument in arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("lodestar: ")
    return lines[-1]


def reference(folder: Path, messages: list[dict[str, str]], max_tokens: int) -> str:
    """What transformers answers, greedily, from the same folder."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    ends = [tokenizer.convert_tokens_to_ids("</s>"), tokenizer.convert_tokens_to_ids("<|end|>")]
    written = model.generate(ids, max_new_tokens=max_tokens, do_sample=False, eos_token_id=ends, pad_token_id=1)[0, ids.shape[1] :].tolist()
    return str(tokenizer.decode(written, skip_special_tokens=True))


def test_one_command_asks_what_transformers_saved(llama: Path) -> None:
    expected = reference(llama, [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "哪边是北？"}], 20)
    asked = ("chat", llama, "--message", "哪边是北？", "--system", "Be brief.", "--temperature", "0", "--max-tokens", "20")
    assert lodestar(*asked).stdout == expected + "\n"
    answer = json.loads(lodestar(*asked, "--json").stdout)
    assert answer["message"] == {"role": "assistant", "content": expected}
    assert answer["usage"]["completion_tokens"] <= 20


def test_a_conversation_in_the_terminal(llama: Path) -> None:
    """What was said is remembered, until /reset; a mistake ends nothing."""
    options = ("chat", llama, "--temperature", "0", "--max-tokens", "5")
    user = [{"role": "user", "content": "north?"}]
    first = reference(llama, user, 5)
    second = reference(llama, [*user, {"role": "assistant", "content": first}, *user], 5)
    instructed = reference(llama, [{"role": "system", "content": "Be brief."}, *user], 5)
    lines = ["north?", "north?", "/reset", "north?", "/system Be brief.", "north?", "/help", "word " * 300, "", "north?", "/exit"]
    spoken = lodestar(*options, typed="\n".join(lines) + "\n")
    said = spoken.stdout
    again = reference(llama, [{"role": "system", "content": "Be brief."}, *user, {"role": "assistant", "content": instructed}, *user], 5)
    for answer in (first, second, first, instructed, again):
        assert answer in said
        said = said[said.index(answer) + len(answer) :]
    assert "There is no /help" in spoken.stderr
    assert "shorten the conversation" in spoken.stderr
    assert lodestar(*options, typed="north?\n").exit_code == 0, "the end of the input leaves, too"


def test_import_checks_tells_and_writes_a_folder_that_chat_takes(llama: Path, tmp_path: Path) -> None:
    (llama / "LICENSE").write_text("Apache License\nVersion 2.0\n")
    told = lodestar("import", llama, tmp_path / "mine")
    assert told.exit_code == 0, told.output
    for part in ("llama (chat model)", "256 tokens", "licence     Apache License", "Next: lodestar chat"):
        assert part in told.stdout
    value = json.loads(lodestar("import", llama, tmp_path / "again", "--json").stdout)
    assert (value["family"], value["context"], value["task"]) == ("llama", 256, "chat")
    assert f"{value['parameters']:,}" in told.stdout
    assert json.loads((tmp_path / "mine" / "origin.json").read_text())["weights_sha256"] == value["weights_sha256"]
    asked = ("--message", "north?", "--temperature", "0", "--max-tokens", "8")
    assert lodestar("chat", tmp_path / "mine", *asked).stdout == lodestar("chat", llama, *asked).stdout
    bundle = open_bundle(tmp_path / "mine", task_for(tmp_path / "mine"))
    assert bundle.tokenizer.stop_ids == (1,)


def test_a_base_model_is_imported_for_text_generation(
    tmp_path: Path, save_llama: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    base = save_llama(tmp_path / "base", template=None)
    value = json.loads(lodestar("import", base, tmp_path / "mine", "--json").stdout)
    assert value["task"] == "text-generation"
    assert "no chat template, so it is no chat model" in refused(capsys, "chat", base)
    assert "trained for the task text-generation, not for chat" in refused(capsys, "chat", tmp_path / "mine")


def test_the_chinese_reader_is_told_in_chinese(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "zh")
    assert "下一步：lodestar chat" in lodestar("import", llama, tmp_path / "mine").stdout


def broken(source: Path, folder: Path, part: str) -> Path:
    """A copy of a good folder with one thing wrong."""
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    name = "model.layers.1.mlp.up_proj.weight"
    if part == "nan":
        tensors[name][5, 7] = float("nan")
        save_file(tensors, weights, metadata={"format": "pt"})
    elif part == "missing":
        del tensors[name]
        save_file(tensors, weights, metadata={"format": "pt"})
    elif part == "pickle":
        weights.rename(folder / "pytorch_model.bin")
    elif part == "template":
        (folder / "chat_template.jinja").write_text("{{ ''.__class__.__mro__ }}")
    elif part == "endless":
        (folder / "chat_template.jinja").write_text("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")
    elif part == "architecture":
        fields = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**fields, "architectures": ["LlamaForCausalML"]}))
    elif part == "tokenizer":
        fields = json.loads((folder / "tokenizer.json").read_text())
        fields["added_tokens"].append({**fields["added_tokens"][0], "id": 5_000, "content": "<far>"})
        (folder / "tokenizer.json").write_text(json.dumps(fields))
    return folder


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("nan", "holds NaN or infinity"),
        ("missing", "'model.layers.1.mlp.up_proj.weight' is missing"),
        ("pickle", "reading a pickle runs whatever code is in it"),
        ("template", "reaches outside its sandbox"),
        ("endless", "does not end, or makes text without bound"),
        ("architecture", "LlamaForCausalLM"),
        ("tokenizer", "the tokenizer has"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence_and_nothing_is_written(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, sentence: str
) -> None:
    (tmp_path / "bad").mkdir()
    folder = broken(llama, tmp_path / "bad", part)
    assert sentence in refused(capsys, "import", folder, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_other_mistakes(llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "already exists" in refused(capsys, "import", llama, llama)
    assert "no such folder" in refused(capsys, "import", tmp_path / "nowhere", tmp_path / "mine")
    assert "no such folder" in refused(capsys, "chat", f"{tmp_path}/nowhere")
    assert "--json needs a question" in refused(capsys, "chat", llama, "--json")
    lodestar("import", llama, tmp_path / "mine")
    assert "a folder of Lodestar's already" in refused(capsys, "import", tmp_path / "mine", tmp_path / "other")
