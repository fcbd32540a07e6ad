"""wav2vec 2.0. Baevski et al. 2020, https://arxiv.org/abs/2006.11477."""

from __future__ import annotations

from functools import partial

from .family import Family
from .sounds import (
    DEFAULTS,
    IGNORED,
    RENAMED,
    build_sound_model,
    read_sound_encoder,
    sound_tensors,
    write_sound_encoder,
    write_sound_parts,
)

FAMILY = Family(
    name="wav2vec2",
    architectures=("Wav2Vec2ForCTC", "Wav2Vec2Model"),
    read_config=read_sound_encoder,
    write_config=write_sound_encoder,
    write_parts=partial(write_sound_parts, family="Wav2Vec2", bare_projection=False),
    tensors=partial(sound_tensors, theirs="wav2vec2."),
    build=build_sound_model,
    prefix="wav2vec2.",
    renamed=RENAMED,
    ignored=IGNORED,
    defaults=DEFAULTS,
)
