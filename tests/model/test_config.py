"""The config: what does not fit is told in a sentence, and all of it survives JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from lodestar.model.config import ModelConfig, RotaryScaling


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"heads": 5}, "heads (5) does not divide width (12); the nearest number of heads that does is"),
        ({"key_value_heads": 2}, "key_value_heads (2) does not divide heads (3)"),
        ({"heads": 4}, "rotary positions need an even head width"),
        ({"position": "rotray"}, "use one of rotary, learned"),
        ({"depth": 0}, "depth is 0"),
        ({"window": 0}, "window is 0"),
        ({"decoder_depth": 2}, "decoder_depth is for the encoder-decoder"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"width": 15, "position": "sinusoidal"}, "even width"),
        ({"layer_windows": (1,)}, "layer_windows has 1 entries, and depth is 2"),
        ({"layer_windows": (1, 0)}, "window is 0"),
        ({"experts": 2, "experts_per_token": 3}, "experts_per_token (3) is more than experts (2)"),
        ({"dense_layers": (2,)}, "dense_layers names a layer"),
        ({"rotary_share": 0.0}, "rotary_share is 0.0"),
        ({"rotary_share": 0.75}, "even head width, and it is 3"),
        ({"biased": ("querry",)}, "biased names 'querry'"),
        ({"vocabulary_size": 0}, "vocabulary_size is 0, and a decoder writes tokens"),
        ({"decoder_heads": 2}, "decoder_heads is for the encoder-decoder"),
        ({"source_vocabulary_size": 9}, "source_vocabulary_size is for the encoder-decoder"),
        ({"decoder_causal": False}, "decoder_causal is for the encoder-decoder, and architecture is decoder"),
        ({"conditioning": "adaptive", "norm_place": "post"}, "norm_place is post; set norm_place to pre"),
        ({"source_vocabulary_size": 0, "architecture": "encoder-decoder"}, "source_vocabulary_size is 0"),
    ],
)
def test_a_config_that_does_not_fit_says_why(fields: dict[str, Any], sentence: str) -> None:
    good: dict[str, Any] = {"vocabulary_size": 17, "width": 12, "depth": 2, "heads": 3, "context": 16}
    with pytest.raises(ValueError) as caught:
        ModelConfig(**good | fields)
    assert sentence in str(caught.value)


def test_config_survives_json_and_refuses_unknown_fields() -> None:
    scaling = RotaryScaling("longrope", original_context=6, short_factors=(1.0, 1.1), long_factors=(2.0, 3.0))
    config = ModelConfig(17, width=12, depth=2, heads=3, context=16, layer_windows=(4, None), rotary_scaling=scaling)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ValueError, match="long_factors has 2 numbers; it needs 3"):
        ModelConfig(17, width=12, depth=2, heads=2, context=16, rotary_scaling=dataclasses.replace(scaling, short_factors=(1.0,) * 3))
    with pytest.raises(ValueError, match="yarn needs original_context"):
        RotaryScaling("yarn", factor=2.0)
    with pytest.raises(ValueError, match="unknown field of ModelConfig: widht"):
        ModelConfig.from_dict(config.to_dict() | {"widht": 1})
