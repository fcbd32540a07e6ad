"""adapter_config.json: what `peft` writes and reads about an adapter. https://huggingface.co/docs/peft/package_reference/lora"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...contracts.adapter import AdapterSettings
from ...contracts.errors import UserError
from .names import Names

_UNKNOWN = (
    "lora_bias", "modules_to_save", "layer_replication", "trainable_token_indices", "target_parameters", "use_qalora", "use_bdlora",
    "alora_invocation_tokens", "arrow_config", "kasa_config", "velora_config", "monteclora_config",
)  # fmt: skip
"""Fields that change what is computed, and that we have nothing for."""
_TASKS = {"decoder": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM"}


def write_config(settings: AdapterSettings, names: Names, architecture: str, sizes: Mapping[str, tuple[int, float]]) -> dict[str, Any]:
    """The fields, for adapters of these ranks and scales in their layers."""
    alphas = {name: _alpha(settings, rank, scale) for name, (rank, scale) in sizes.items()}
    usual_rank = settings.rank if any(rank == settings.rank for rank, _ in sizes.values()) else next(iter(sizes.values()))[0]
    usual_alpha = next(alphas[name] for name, (rank, _) in sizes.items() if rank == usual_rank)
    return {
        "peft_type": "LORA",
        "task_type": _TASKS.get(architecture),
        "base_model_name_or_path": names.source,
        "revision": names.revision,
        "r": usual_rank,
        "lora_alpha": usual_alpha,
        "rank_pattern": {name: rank for name, (rank, _) in sizes.items() if rank != usual_rank},
        "alpha_pattern": {name: alpha for name, alpha in alphas.items() if alpha != usual_alpha},
        "use_rslora": settings.rank_stabilized,
        "use_dora": settings.kind == "dora",
        "lora_dropout": settings.dropout,
        "target_modules": names.short(set(sizes)),
        "fan_in_fan_out": names.transposed,
        "bias": "none",
        "inference_mode": True,
    }


def _alpha(settings: AdapterSettings, rank: int, scale: float) -> float:
    alpha = scale * (math.sqrt(rank) if settings.rank_stabilized else rank)
    return round(alpha) if math.isclose(alpha, round(alpha)) else alpha


def read_settings(fields: Mapping[str, Any], where: Path) -> AdapterSettings:
    """The settings that the fields say, for all layers.

    Raises:
        UserError: the adapter is of another kind, or does something that Lodestar does not.
    """
    kind = fields.get("peft_type")
    if kind != "LORA":
        raise UserError(f"the adapter is of the kind {kind!r}", where=where, fix="give one of the kind 'LORA' (DoRA and rsLoRA are such)")
    used = [name for name in _UNKNOWN if fields.get(name)]
    if fields.get("bias", "none") != "none":
        used.append("bias")
    if used:
        raise UserError(
            f"the adapter uses {used[0]!r}, which Lodestar does not", where=where, fix="merge it with peft, and load the result"
        )
    given = {
        "kind": "dora" if fields.get("use_dora") else "lora",
        "rank": fields.get("r", 8),
        "alpha": fields.get("lora_alpha", 8),
        "rank_stabilized": bool(fields.get("use_rslora")),
        "dropout": fields.get("lora_dropout", 0.0),
    }
    return AdapterSettings.parse(given, where=where)


def scale_of(name: str, rank: int, settings: AdapterSettings, fields: Mapping[str, Any]) -> float:
    """What `peft` multiplies the adapter of rank `rank` in their layer `name` by; its patterns are ends of names."""
    patterns: Mapping[str, float] = fields.get("alpha_pattern") or {}
    alpha = next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", name)), settings.alpha)
    return alpha / (math.sqrt(rank) if settings.rank_stabilized else rank)
