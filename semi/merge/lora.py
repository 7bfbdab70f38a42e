"""A LoRA adapter that PEFT saved, as the change that it makes to each tensor of its base, row by row."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from semi.errors import ArtifactError
from semi.merge.checkpoint import Checkpoint, first_ten, read_settings
from semi.merge.header import TensorInfo

_ROOT = "base_model.model."
"""Begins the names of what PEFT wraps."""

_UNDERSTOOD = {
    *("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "fan_in_fan_out", "init_lora_weights"),
    # What is in the file counts, not what was meant to be trained.
    *("peft_type", "bias", "target_modules", "exclude_modules", "modules_to_save", "layers_to_transform"),
    *("layers_pattern", "lora_dropout", "inference_mode", "runtime_config", "megatron_core", "qalora_group_size"),
    *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "velora_config", "ensure_weight_tying"),
    *("task_type", "auto_mapping", "base_model_name_or_path", "revision", "peft_version"),
}
"""Settings that leave the change at s * B @ A; any other one, such as use_dora, is refused once it is switched on."""

_BASE_UNCHANGED = ("gaussian", "eva", "orthogonal", "mica")
"""Beginnings of a training that leave the base as it was; PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA take s * B @ A off."""


@dataclass(frozen=True)
class LowRank:
    """The change s * B @ A of one tensor of the base.

    Attributes:
        key: the tensor's name without the model's prefix.
        a: A, (r, in_features).
        b: B, (out_features, r).
        scale: s = lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora.
        transposed: the tensor is (in_features, out_features): GPT-2's Conv1D, PEFT's fan_in_fan_out.
        stored: the tensor's name with the prefix.
        onto: what the change is added to where that is not the base's tensor: PEFT saves a changed output matrix too.
    """

    key: str
    a: TensorInfo
    b: TensorInfo
    scale: float
    transposed: bool
    stored: str
    onto: TensorInfo | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Of the tensor that it changes."""
        rows, columns = self.b.shape[0], self.a.shape[1]
        return (columns, rows) if self.transposed else (rows, columns)

    @property
    def dtype(self) -> str:
        """Of the factors."""
        return self.b.dtype

    @property
    def nbytes(self) -> int:
        """Of all its tensors, in the file."""
        return self.a.nbytes + self.b.nbytes + (self.onto.nbytes if self.onto else 0)


class LoraAdapter:
    """An adapter's changes by the base's keys: low-rank ones, and tensors that it replaces (modules_to_save, biases).

    Attributes:
        keys: the base's tensors that it changes, without the prefix, sorted.
        trained_on: the base that it was trained on, as its configuration names it; None: it names none.
    """

    def __init__(
        self,
        tensors: Checkpoint,
        changes: Mapping[str, LowRank],
        replaced: Mapping[str, str],
        trained_on: str | None = None,
    ) -> None:
        """The adapter's file; by the base's keys its low-rank changes, and the names of what replaces tensors."""
        self._tensors, self._changes, self._replaced = tensors, changes, replaced
        self.trained_on = trained_on
        self.keys: tuple[str, ...] = tuple(sorted({*changes, *replaced}))

    @classmethod
    def open(cls, folder: str | Path, prefix: str = "") -> Self:
        """Open adapter_config.json and adapter_model.safetensors.

        Args:
            folder: as PEFT writes it.
            prefix: taken off the base's keys that begin with it (`llm_prefix` of a merge).

        Raises:
            ArtifactError: a file is missing or damaged; the adapter is of another kind than LoRA, uses an extension of
                it (DoRA, biases of its own, embeddings, ...), or was trained on a base that its initialisation changed;
                a factor is missing, or its rank is not what the configuration says.
        """
        folder = Path(folder)
        config = _settings(folder / "adapter_config.json")
        tensors = Checkpoint([folder / "adapter_model.safetensors"], _ROOT)
        try:
            changes, replaced = _changes(folder, config, tensors, prefix)
            return cls(tensors, changes, replaced, config.get("base_model_name_or_path") or None)
        except BaseException:
            tensors.close()
            raise

    def info(self, key: str) -> LowRank | TensorInfo:
        """The low-rank change of a tensor, or the tensor that stands in its place.

        Raises:
            ArtifactError: the adapter does not change it.
        """
        if key in self._changes:
            return self._changes[key]
        name = self._name(key)
        return replace(self._tensors.info(name), key=key, stored=_unwrapped(name))

    def delta(self, key: str, start_row: int = 0, stop_row: int | None = None) -> Tensor:
        """Rows of s * B @ A in float32; other rows are never expanded.

        Returns:
            (rows, columns).

        Raises:
            ArtifactError: the key has no low-rank change, or as `Checkpoint.read`.
        """
        change = self._changes.get(key)
        if change is None:
            raise ArtifactError(f"the adapter has no low-rank change of {key!r}", do="`read` gives what it replaces")
        rows = slice(start_row, stop_row)
        if change.transposed:
            a, b = self._tensors.read(change.a.key), self._tensors.read(change.b.key)
            return (a[:, rows].T @ b.T).mul_(change.scale)
        a, b = self._tensors.read(change.a.key), self._tensors.read(change.b.key, start_row, stop_row)
        return (b @ a).mul_(change.scale)

    def read(self, key: str, start_row: int = 0, stop_row: int | None = None, *, out: Tensor | None = None) -> Tensor:
        """Rows of a tensor that the adapter replaces; as `Checkpoint.read`."""
        return self._tensors.read(self._name(key), start_row, stop_row, out=out)

    def raw(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Bytes of a tensor that the adapter replaces; as `Checkpoint.raw`."""
        return self._tensors.raw(self._name(key), start, stop)

    def close(self) -> None:
        """Close the file; nothing can be read any more."""
        self._tensors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _name(self, key: str) -> str:
        if key not in self._replaced:
            raise ArtifactError(f"the adapter holds no tensor {key!r}", expected=f"one of {len(self.keys)} keys")
        return self._replaced[key]


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        whole = any(path.parent.glob("*.safetensors"))
        raise ArtifactError(
            f"{path.parent} holds no LoRA adapter",
            got="a whole model" if whole else f"no {path.name}",
            expected=f"{path.name} and adapter_model.safetensors, as PEFT writes them",
            do="leave `adapter: lora` out for a whole model" if whole else "check the path",
        )
    config = read_settings(path)
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise ArtifactError(
            f"{path} is of no LoRA adapter",
            got=config.get("peft_type") if isinstance(config, dict) else type(config).__name__,
            expected="peft_type LORA",
            do="merge the adapter into its model with PEFT and name that model instead",
        )
    extensions = sorted(name for name, value in config.items() if value and name not in _UNDERSTOOD)
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower() not in _BASE_UNCHANGED:
        extensions.append(f"init_lora_weights {start!r}, which changes the base")
    if extensions:
        raise ArtifactError(
            f"{path} is of an adapter that is more than s * B @ A",
            got=", ".join(extensions),
            expected="plain LoRA",
            do="merge the adapter into its model with PEFT (merge_and_unload) and name that model instead",
        )
    return config


def _changes(
    folder: Path, config: Mapping[str, Any], tensors: Checkpoint, prefix: str
) -> tuple[dict[str, LowRank], dict[str, str]]:
    """By the base's keys: low-rank changes, and the names of tensors that replace the base's."""
    problems: list[str] = []
    changes: dict[str, LowRank] = {}
    replaced: dict[str, str] = {}
    known = set(tensors.keys)
    for name in tensors.keys:
        module, _, part = name.rpartition(".lora_")
        if not module:
            other = replaced.setdefault(_unwrapped(name).removeprefix(prefix), name)
            problems += [f"{other} and {name} replace one tensor"] if other != name else []
        elif part not in ("A.weight", "B.weight"):
            problems.append(f"{name} is no matrix of plain LoRA")
        elif not {f"{module}.lora_A.weight", f"{module}.lora_B.weight"} <= known:
            problems.append(f"{name} lacks its other factor")
        elif part == "A.weight":
            try:
                change = _low_rank(config, tensors, module, prefix)
                other = changes.setdefault(change.key, change).stored
                problems += [f"{other} and {change.stored} are one tensor"] if other != change.stored else []
            except (ValueError, TypeError, re.error) as error:
                problems.append(f"{module}: {error}")
    for key in sorted(changes.keys() & replaced.keys()):
        onto = tensors.info(replaced[key])
        changes[key] = replace(changes[key], onto=onto)
        if onto.shape != changes[key].shape:
            problems.append(f"{key} has shape {onto.shape}, its change {changes[key].shape}")
    if problems:
        raise ArtifactError(
            f"{folder} holds no adapter of plain LoRA",
            got=first_ten(problems),
            expected="lora_A (r, in_features) and lora_B (out_features, r) of each layer",
            do="merge the adapter into its model with PEFT (merge_and_unload) and name that model instead",
        )
    return changes, replaced


def _low_rank(config: Mapping[str, Any], tensors: Checkpoint, module: str, prefix: str) -> LowRank:
    """The change of a module's weight; raises as `_scale`, also for factors that do not belong together."""
    a, b = tensors.info(f"{module}.lora_A.weight"), tensors.info(f"{module}.lora_B.weight")
    if len(a.shape) != 2 or len(b.shape) != 2 or not a.shape[0] == b.shape[1] > 0:
        raise ValueError(f"factors of shapes {a.shape} and {b.shape}")
    stored = f"{module}.weight"
    transposed = bool(config.get("fan_in_fan_out"))
    return LowRank(stored.removeprefix(prefix), a, b, _scale(config, module, a.shape[0]), transposed, stored)


def _unwrapped(name: str) -> str:
    """The base's name of a tensor: PEFT puts layers that it changes one level deeper."""
    return name.replace(".base_layer.", ".").replace(".modules_to_save.", ".")


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """s of a module whose factors are of that rank.

    Raises:
        ValueError, TypeError, re.error: the configuration gives no number, no pattern, or another rank.
    """
    said = _for_module(config.get("rank_pattern"), module, config.get("r"))
    alpha = _for_module(config.get("alpha_pattern"), module, config.get("lora_alpha"))
    if said != rank:
        raise ValueError(f"rank {said} in adapter_config.json, factors of rank {rank}")
    scale = float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)
    if not math.isfinite(scale):
        raise ValueError(f"lora_alpha {alpha} is no finite number")
    return scale


def _for_module(patterns: Any, module: str, default: Any) -> Any:
    """The first pattern that matches the end of a module's name, as PEFT's `get_pattern_key` has it."""
    if patterns and not isinstance(patterns, Mapping):
        raise TypeError(f"{patterns!r} is no mapping of patterns")
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default
