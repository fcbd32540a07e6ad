"""Encoders as ONNX files, run by onnxruntime and held against the model that was exported."""

from __future__ import annotations

import sys
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn

from lodestar.build.heads import HeadShape, PooledEncoder, SequenceClassifier
from lodestar.contracts.errors import UserError
from lodestar.deploy.export_onnx import export_onnx
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer

CONTEXT, VOCABULARY = 21, 43
LIKE_BERT = ModelConfig(
    vocabulary_size=VOCABULARY, width=20, depth=2, heads=4, context=CONTEXT, architecture="encoder", position="learned", norm="layer",
    norm_place="post", embedding_norm=True, feed_forward="gelu", bias=True, token_types=2,
)  # fmt: skip
LIKE_MODERNBERT = ModelConfig(
    vocabulary_size=VOCABULARY, width=24, depth=3, heads=3, context=CONTEXT, architecture="encoder", layer_windows=(None, 4, 4),
    local_rotary_base=50.0, norm="layer", embedding_norm=True, skip_first_norm=True, feed_forward="geglu",
)  # fmt: skip
LIKE_T5 = ModelConfig(
    vocabulary_size=VOCABULARY, width=20, depth=2, heads=4, head_width=3, context=CONTEXT, architecture="encoder", position="relative",
    relative_buckets=8, relative_distance=12, attention_scale=1.0, feed_forward="relu",
)  # fmt: skip


def batch(rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and a mask with padding in every row but the first."""
    generator = torch.Generator().manual_seed(rows * 100 + length)
    tokens = torch.randint(VOCABULARY, (rows, length), generator=generator)
    lengths = torch.tensor([length, *torch.randint(1, length + 1, (rows - 1,), generator=generator).tolist()])
    return tokens, (torch.arange(length) < lengths[:, None]).long()


@pytest.mark.parametrize(
    ("model", "outputs"),
    [
        (PooledEncoder(LIKE_BERT), ["last_hidden_state", "pooler_output"]),
        (SequenceClassifier(LIKE_MODERNBERT, 3, HeadShape("mean", "gelu", norm=True)), ["logits"]),
        (Transformer(LIKE_T5), ["last_hidden_state"]),
    ],
    ids=["bert", "modernbert", "t5"],
)
def test_the_file_answers_as_the_model_for_any_batch_and_length(model: nn.Module, outputs: list[str], tmp_path: Path):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.train()
    export_onnx(model, tmp_path / "model.onnx")
    assert model.training, "the model is left as it was"
    model.eval()
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = [value.name for value in session.get_inputs()]
    assert [value.name for value in session.get_outputs()] == outputs
    for rows, length in ((1, 1), (1, CONTEXT), (2, 4), (3, 5), (7, 12)):
        tokens, mask = batch(rows, length)
        types = (tokens % 2) if "token_type_ids" in names else None
        given = {"input_ids": tokens.numpy(), "attention_mask": mask.numpy()}
        if types is not None:
            given["token_type_ids"] = types.numpy()
        found = [torch.from_numpy(value) for value in session.run(None, given)]
        with torch.no_grad():
            expected = [model(tokens, attention_mask=mask.bool(), token_types=types)]
            if isinstance(model, PooledEncoder):
                expected.append(model.pooled(expected[0]))
        for mine, theirs in zip(expected, found, strict=True):
            torch.testing.assert_close(theirs, mine, atol=1e-5, rtol=1e-4)  # float32 sums in another order


def test_what_is_no_encoder_or_not_in_float32_is_refused_before_anything_is_written(tmp_path: Path):
    decoder = Transformer(ModelConfig(vocabulary_size=5, width=8, depth=1, heads=1, context=4))
    with pytest.raises(UserError, match="ONNX export is for encoders of text, and this is a decoder"):
        export_onnx(decoder, tmp_path / "model.onnx")
    with pytest.raises(UserError, match=r"the weights are torch.bfloat16; load the model with dtype=torch.float32"):
        export_onnx(Transformer(LIKE_T5).bfloat16(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told_with_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # as where it is not installed
    with pytest.raises(UserError, match=r"ONNX export needs the package 'onnxscript'; install it with: pip install 'lodestar\[onnx\]'"):
        export_onnx(Transformer(LIKE_T5), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
