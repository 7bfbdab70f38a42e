"""A merge of the tiny models of conftest.py: its configuration, and what it must give, computed on whole tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semi.artifacts import read_manifest
from semi.merge.coder import method_settings
from semi.merge.codes import Code, encode
from semi.merge.config import MergeConfig
from semi.merge.dare import keep_at_random
from semi.merge.scales import emr_scales, emr_totals, row_scales, square_sums
from semi.merge.trim import Magnitudes

MERGES: dict[str, dict[str, Any]] = {
    "task_arithmetic": {"merge": {"method": "task_arithmetic"}},
    "ties": {"merge": {"method": "ties"}},
    "ties, all kept": {"merge": {"method": "ties", "trim": 1.0}},
    "ties, each tensor": {"merge": {"method": "ties", "trim_scope": "tensor", "trim": 0.3}},
    "dare": {"merge": {"method": "dare", "seed": 3}},
    "emr": {"merge": {"method": "emr"}},
    "tall": {"merge": {"method": "tall"}, "mask": {"lambda": 0.6}},
    "mmer": {"merge": {"method": "mmer"}},
    "mmer, row scales": {"merge": {"method": "mmer"}, "mask": {"scale": "row"}},
    "optimal": {"merge": {"method": "optimal"}},
    "ternary": {"merge": {"method": "ternary"}},
}
"""Settings by name: every method."""


def config_of(base: Path, models: Mapping[str, Path | dict[str, Any]], **settings: Any) -> MergeConfig:
    """The configuration of a merge; a model is a folder, or its settings."""
    entries = [
        {"name": name} | ({"path": str(model)} if isinstance(model, Path) else model) for name, model in models.items()
    ]
    given = {"merge": {"method": "mmer"}} | settings
    return MergeConfig.model_validate({"base_model": str(base), "models": entries} | given)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a complete merge."""
    read_manifest(folder, "merge")
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def expected(
    config: MergeConfig, base: Mapping[str, Tensor], tunes: Sequence[Mapping[str, Tensor]]
) -> dict[str, tuple[Code, list[Tensor | None]]]:
    """By key, in the models' order, of whole tensors in memory: the code and the models' row scales (rows,)."""
    merged = sorted(key for key, tensor in base.items() if tensor.ndim == 2)
    taus = {key: torch.stack([tune[key] - base[key] for tune in tunes]) for key in merged}
    kept = _kept(config, taus)
    codes = {}
    for key, tau in taus.items():
        normalised = config.merge.method in ("optimal", "ternary")
        rms = (square_sums(tau) / tau[0].numel()).sqrt() if normalised else None
        codes[key] = encode(tau, kept.get(key), method_settings(config), rms)
    factors = emr_scales(
        sum((emr_totals(taus[key], codes[key]) for key in merged), torch.zeros(len(tunes), 2).double())
    )
    scales: dict[str, list[Tensor | None]] = {}
    for key, tau in taus.items():
        scales[key] = [
            {
                "none": None,
                "row": row_scales(one, codes[key].delta(i)),
                "model": factors[i].expand(tau.shape[1]),
            }[config.scale]
            for i, one in enumerate(tau)
        ]
    return {key: (codes[key], scales[key]) for key in merged}


def _kept(config: MergeConfig, taus: Mapping[str, Tensor]) -> dict[str, Tensor]:
    merge = config.merge
    names = [model.name for model in config.models]
    if merge.method == "dare":
        return {
            key: torch.stack(
                [keep_at_random(merge.trim, merge.seed, n, key, 0, tau[0].numel()).view(tau[0].shape) for n in names]
            )
            for key, tau in taus.items()
        }
    if merge.method not in ("ties", "mmer"):
        return {}
    scopes = [[key] for key in taus] if merge.trim_scope == "tensor" else [list(taus)]
    kept = {key: torch.zeros(tau.shape, dtype=torch.bool) for key, tau in taus.items()}
    for scope in scopes:
        for i in range(len(names)):
            together = torch.cat([taus[key][i].flatten() for key in scope])
            magnitudes = Magnitudes(merge.trim)
            magnitudes.count(together)
            magnitudes.refine(together)
            flags, _ = magnitudes.threshold().keep(together)
            for key, part in zip(scope, torch.split(flags, [taus[key][i].numel() for key in scope]), strict=True):
                kept[key][i] = part.view(taus[key][i].shape)
    return kept
