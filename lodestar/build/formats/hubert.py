"""HuBERT. Hsu et al. 2021, https://arxiv.org/abs/2106.07447."""

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
    name="hubert",
    architectures=("HubertForCTC", "HubertModel"),
    read_config=read_sound_encoder,
    write_config=write_sound_encoder,
    write_parts=partial(write_sound_parts, family="Hubert", bare_projection=True),
    tensors=partial(sound_tensors, theirs="hubert."),
    build=build_sound_model,
    prefix="hubert.",
    renamed=RENAMED,
    ignored=IGNORED,
    defaults=DEFAULTS,
)
