"""ViT, DeiT and CLIP, checked against transformers: what it saves we read with the same answers, and what we save it reads so, too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lodestar.build.formats import load_model, save_model
from lodestar.build.stems import PatchShape
from lodestar.build.towers import PictureClassifier, PictureEncoder, PicturesAndTexts
from lodestar.contracts.errors import UserError
from lodestar.model.config import ModelConfig

transformers = pytest.importorskip("transformers")
CLOSE: dict[str, Any] = {"atol": 1e-4, "rtol": 0.0}
"""Both compute in float32, in different orders."""
SMALL: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "image_size": 12, "patch_size": 4,
    "initializer_range": 0.3,
}  # fmt: skip


def saved(model: Any, folder: Path) -> Path:
    """A random model, whose norms and biases are no longer ones and zeros, as transformers writes it."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.eval().save_pretrained(folder)
    return folder


def pixels(channels: int = 3, height: int = 12, width: int = 12) -> torch.Tensor:
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(2))


def round_trip(model: nn.Module, folder: Path) -> nn.Module:
    """Written by us and read by us again; bit for bit the same."""
    save_model(model, folder)
    again = load_model(folder)
    assert type(again) is type(model)
    assert all(torch.equal(one, other) for one, other in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    return again


VIT: dict[str, tuple[str, str, dict[str, Any]]] = {
    "square": ("ViT", "ForImageClassification", {}),
    "wide": ("ViT", "ForImageClassification", {"image_size": [8, 12], "patch_size": [4, 3], "num_channels": 1, "num_labels": 5}),
    "without biases": ("ViT", "ForImageClassification", {"qkv_bias": False, "hidden_act": "relu", "layer_norm_eps": 1e-5}),
    "bare": ("ViT", "Model", {}),
    "odd": ("ViT", "ForImageClassification", {"image_size": 15, "num_labels": 3}),
    "distilled": ("DeiT", "ForImageClassificationWithTeacher", {"num_labels": 4}),
    "distilled, one head": ("DeiT", "ForImageClassification", {}),
    "distilled, bare": ("DeiT", "Model", {"image_size": 8}),
}


@pytest.mark.parametrize("case", VIT)
def test_vit_and_deit_answer_as_in_transformers(case: str, tmp_path: Path) -> None:
    name, head, changes = VIT[case]
    fields = {**SMALL, **changes}
    torch.manual_seed(0)
    theirs = getattr(transformers, f"{name}{head}")(getattr(transformers, f"{name}Config")(**fields))
    ours = load_model(saved(theirs, tmp_path / "theirs"))
    size = fields["image_size"]
    x = pixels(fields.get("num_channels", 3), *((size, size) if isinstance(size, int) else size))
    assert isinstance(ours, PictureEncoder)
    with torch.no_grad():
        states = (theirs if head == "Model" else getattr(theirs, name.lower()))(x).last_hidden_state
        torch.testing.assert_close(ours.hidden(x), states, **CLOSE)
        answer = (lambda model: model(x).last_hidden_state) if head == "Model" else (lambda model: model(x).logits)
        torch.testing.assert_close(ours(x), answer(theirs), **CLOSE)
        round_trip(ours, tmp_path / "ours")
        torch.testing.assert_close(answer(type(theirs).from_pretrained(tmp_path / "ours").eval()), answer(theirs), **CLOSE)


def clip(folder: Path, **changes: Any) -> tuple[Any, Path]:
    text = {
        "hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 36, "vocab_size": 60,
        "max_position_embeddings": 11, "eos_token_id": 59, "bos_token_id": 58, **changes,
    }  # fmt: skip
    torch.manual_seed(0)
    config = transformers.CLIPConfig(text_config=text, vision_config=SMALL, projection_dim=14)
    model = transformers.CLIPModel(config)
    return model, saved(model, folder)


@pytest.mark.parametrize("end", [59, 2])
def test_clip_answers_as_in_transformers(end: int, tmp_path: Path) -> None:
    theirs, folder = clip(tmp_path / "theirs", eos_token_id=end)
    ours = load_model(folder)
    assert isinstance(ours, PicturesAndTexts)
    # Texts of different lengths that end with the last token, behind which there is padding.
    tokens = torch.tensor([[58, 5, 9, 30, 59, 1, 1], [58, 7, 7, 41, 3, 22, 59], [58, 59, 1, 1, 1, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0], [1] * 7, [1, 1, 0, 0, 0, 0, 0]])
    x = pixels()
    with torch.no_grad():
        reference = theirs(input_ids=tokens, pixel_values=x, attention_mask=mask)
        torch.testing.assert_close(ours.text_features(tokens, mask), theirs.get_text_features(tokens, mask).pooler_output, **CLOSE)
        torch.testing.assert_close(ours.picture_features(x), theirs.get_image_features(x).pooler_output, **CLOSE)
        torch.testing.assert_close(ours(tokens, x, mask), reference.logits_per_image, **CLOSE)
        # The mask changes nothing where texts end before their padding.
        torch.testing.assert_close(ours(tokens, x), reference.logits_per_image, **CLOSE)
        round_trip(ours, tmp_path / "ours")
        again = transformers.CLIPModel.from_pretrained(tmp_path / "ours").eval()
        torch.testing.assert_close(again(input_ids=tokens, pixel_values=x).logits_per_image, reference.logits_per_image, **CLOSE)


def test_what_the_model_did_not_change_stays_as_it_was_written(tmp_path: Path) -> None:
    _, folder = clip(tmp_path / "clip")
    round_trip(load_model(folder), tmp_path / "clip again")
    torch.manual_seed(0)
    names = {"id2label": {0: "cat", 1: "dog", 2: "star"}, "label2id": {"cat": 0, "dog": 1, "star": 2}}
    vit = saved(transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL, **names)), tmp_path / "vit")
    round_trip(load_model(vit), tmp_path / "vit again")
    for name in ("clip", "vit"):
        before, after = (json.loads((tmp_path / folder / "config.json").read_text()) for folder in (name, f"{name} again"))
        assert before == after


def vit_config(**changes: Any) -> ModelConfig:
    fields: dict[str, Any] = {
        "vocabulary_size": 0, "width": 24, "depth": 1, "heads": 3, "context": 10, "architecture": "encoder", "position": "learned",
        "norm": "layer", "bias": True, "feed_forward": "gelu", "feed_forward_width": 40, **changes,
    }  # fmt: skip
    return ModelConfig(**fields)


def of_our_own(kind: str) -> tuple[nn.Module, str, Callable[[Any, Any], torch.Tensor]]:
    torch.manual_seed(0)
    shape = PatchShape(12, 12, 4, 4)
    if kind == "classifier":
        return PictureClassifier(vit_config(), shape, 7), "ViTForImageClassification", lambda model, x: model(x).logits
    if kind == "encoder":
        return PictureEncoder(vit_config(), shape), "ViTModel", lambda model, x: model(x).last_hidden_state
    two = PatchShape(12, 12, 4, 4, prefix=2)
    model = PictureClassifier(vit_config(context=11), two, 3, ensemble=True)
    return model, "DeiTForImageClassificationWithTeacher", lambda model, x: model(x).logits


@pytest.mark.parametrize("kind", ["classifier", "encoder", "ensemble"])
def test_a_model_trained_here_is_written_as_the_family_that_can_say_it(kind: str, tmp_path: Path) -> None:
    model, architecture, answer = of_our_own(kind)
    round_trip(model.eval(), tmp_path / "ours")
    fields = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert fields["architectures"] == [architecture]
    theirs = getattr(transformers, architecture).from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        torch.testing.assert_close(answer(theirs, pixels()), model(pixels()), **CLOSE)


def test_towers_trained_here_are_written_as_clip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    texts = vit_config(vocabulary_size=30, context=8, architecture="decoder", width=16, heads=2, feed_forward="quick-gelu")
    pictures = vit_config(embedding_norm=True, feed_forward="quick-gelu")
    model = PicturesAndTexts(texts, pictures, PatchShape(12, 12, 4, 4, bias=False), 12, end_id=29).eval()
    round_trip(model, tmp_path / "ours")
    theirs = transformers.CLIPModel.from_pretrained(tmp_path / "ours").eval()
    tokens = torch.tensor([[3, 4, 29, 0]])
    with torch.no_grad():
        reference = theirs(input_ids=tokens, pixel_values=pixels()).logits_per_image
        torch.testing.assert_close(model(tokens, pixels()), reference, **CLOSE)


def test_a_changed_choice_is_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL))
    ours = load_model(saved(theirs, tmp_path / "theirs"))
    changed = PictureClassifier(vit_config(depth=2, norm_epsilon=1e-3), PatchShape(12, 12, 4, 4), 2)
    changed.load_state_dict(ours.state_dict())
    changed.origin = ours.origin
    save_model(changed.eval(), tmp_path / "ours")
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["layer_norm_eps"] == 1e-3
    again = transformers.ViTForImageClassification.from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(pixels()).logits, changed(pixels()), **CLOSE)


def test_pictures_of_another_size_are_refused() -> None:
    model, _, _ = of_our_own("classifier")
    with pytest.raises(ValueError, match="the pictures are 3×12×16, and the model reads 3×12×12; resize them"):
        model(pixels(width=16))


def test_a_patch_larger_than_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="a patch of 16×16 pixels is larger than a picture of 12×12"):
        PatchShape(12, 12, 16, 16)


def test_a_config_of_another_shape_than_the_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="context is 10, and a picture has 17 patches and prefixes"):
        PictureEncoder(vit_config(), PatchShape(16, 16, 4, 4))


def test_weights_of_another_picture_size_are_refused_by_shape(tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = saved(transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL)), tmp_path / "theirs")
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, "image_size": 16}))
    with pytest.raises(UserError, match=r"'vit.embeddings.position_embeddings' has the shape \[1, 10, 24\], and config.json says \[1, 17"):
        load_model(folder)


def test_weights_of_a_tower_of_another_depth_are_refused(tmp_path: Path) -> None:
    _, folder = clip(tmp_path / "theirs")
    fields = json.loads((folder / "config.json").read_text())
    fields["vision_config"]["num_hidden_layers"] = 3
    (folder / "config.json").write_text(json.dumps(fields))
    with pytest.raises(UserError, match=r"'vision_model.encoder.layers.2.*are missing"):
        load_model(folder)
