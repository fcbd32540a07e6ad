"""The dial: every size builds, each value can be set by hand, and what does not fit is said."""

from __future__ import annotations

import itertools

import pytest

from lodestar.build.sizes import DEPTHS, derive, token_budget
from lodestar.contracts.errors import UserError
from lodestar.contracts.settings import ModelSettings
from lodestar.model.transformer import meta_transformer


@pytest.mark.parametrize("size", list(DEPTHS))
@pytest.mark.parametrize("architecture", ["decoder", "encoder", "encoder-decoder"])
def test_every_size_builds_the_model_it_announces(size: str, architecture: str) -> None:
    derived = derive(ModelSettings.parse({"size": size}, where="test"), {"architecture": architecture}, 8192)
    built = meta_transformer(derived.config).parameter_count()
    assert any(f"{built:,}" in line.en and f"{built:,}" in line.zh for line in derived.lines)


def test_larger_sizes_have_more_parameters_larger_batches_and_smaller_steps() -> None:
    derived = [derive(ModelSettings.parse({"size": size}, where="test"), {}, 8192) for size in DEPTHS]
    for smaller, larger in itertools.pairwise(derived):
        assert smaller.config.parameter_count() < larger.config.parameter_count()
        assert smaller.batch_tokens < larger.batch_tokens
        assert smaller.learning_rate > larger.learning_rate


def test_a_value_set_by_hand_wins_over_task_and_size() -> None:
    settings = ModelSettings.parse({"context": 64, "overrides": {"width": 96, "heads": 3, "position": "learned"}}, where="test")
    config = derive(settings, {"position": "sinusoidal", "architecture": "encoder"}, 300).config
    assert (config.context, config.width, config.heads, config.position, config.architecture) == (64, 96, 3, "learned", "encoder")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"widht": 3}, "unknown field 'widht'; did you mean 'width'?"),
        ({"width": "wide"}, "width is 'wide'; give a value of type int"),
        ({"heads": 5}, "heads (5) does not divide width (384); the nearest number of heads that does is"),
        ({"qk_norm": 1}, "qk_norm is 1; give a value of type bool"),
        ({"norm": "batch"}, "norm is 'batch'; use one of rms, layer"),
    ],
)
def test_an_override_that_does_not_fit_says_why(overrides: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        derive(ModelSettings(overrides=overrides), {}, 8192)
    assert sentence in str(caught.value)


def test_the_token_budget_is_twenty_a_parameter_but_at_most_four_passes() -> None:
    config = derive(ModelSettings(size="tiny"), {}, 8192).config
    assert token_budget(config, 10**12)[0] == 20 * config.parameter_count()
    assert token_budget(config, 1000)[0] == 4000


def test_overrides_of_several_parts_are_checked_and_read() -> None:
    scaling = {"kind": "linear", "factor": 2.0}
    settings = ModelSettings(size="tiny", overrides={"depth": 2, "layer_windows": [4, None], "rotary_scaling": scaling})
    config = derive(settings, {}, 300).config
    assert config.layer_windows == (4, None)
    assert config.rotary_scaling is not None
    assert config.rotary_scaling.factor == 2.0
    for name, value in (("layer_windows", 4), ("rotary_scaling", [1]), ("rotary_scaling", {"kind": "linear", "faktor": 2.0})):
        with pytest.raises(UserError, match=r"rotary_scaling|layer_windows|faktor"):
            derive(ModelSettings(size="tiny", overrides={name: value}), {}, 300)
