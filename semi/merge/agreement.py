"""Whether models compute as their base does: what config.json says beside the weights is not merged, and must agree."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from semi.errors import ArtifactError
from semi.merge.checkpoint import first_ten, read_settings

CONFIG = "config.json"

_LANGUAGE = ("text_config", "llm_config", "language_config")
"""Where a multimodal model's config.json has what is its language model's."""

_HARMLESS = (
    *("_*", "*name_or_path", "architectures", "model_type", "auto_map", "*version", "*dtype", "quantization_config"),
    # A vocabulary is that of the tensors, which are compared; ids and lengths are the tokenizer's and the generation's.
    *("vocab_size", "*token_id", "*token_index", "*max_length", "*id2label", "*label2id", "problem_type"),
    *("use_cache", "output_*", "return_dict", "*dropout*", "*pdrop", "initializer_*", "gradient_checkpointing"),
)
"""Settings in which models may differ: names, versions, storage, and what has a part in training alone."""

_POSITIONS = "max_position_embeddings"
_CLOSE = 1e-6
"""Relative: 1e-5 that was once a float32 is 9.999999747e-6."""


def require_same_settings(base: Path, models: Mapping[str, Path]) -> None:
    """Refuse models whose config.json asks for another computation than their base's.

    A setting that one of the two leaves out is the default of its class, and passes: a fine-tune that changed it would
    say so.

    Args:
        base: the base's config.json.
        models: each model's, by name. Where there is none, nothing is compared.

    Raises:
        ArtifactError: names models, settings and values; or a file is no JSON.
    """
    if not base.is_file():
        return
    problems = []
    for name, path in models.items():
        if path.is_file():
            pairs = _differing(read_settings(base), read_settings(path))
            problems += [f"{name}: {setting} is {own}, in the base {of_base}" for setting, of_base, own in pairs]
    if problems:
        raise ArtifactError(
            f"the models do not compute as their base does, says their {CONFIG}",
            got=first_ten(problems),
            expected="the base's settings in all that changes the computation",
            do=f"merge fine-tunes that kept them; where a {CONFIG} is wrong, correct it",
        )


def _differing(base: Any, model: Any) -> Iterator[tuple[str, Any, Any]]:
    """Settings that both state, and not alike: the name, the base's value, the model's."""
    if not (isinstance(base, dict) and isinstance(model, dict)):
        return
    part = next((name for name in _LANGUAGE if isinstance(model.get(name), dict)), None)
    if part is not None and part not in base:
        model = {name: said for name, said in model.items() if name == "tie_word_embeddings"} | model[part]
    one, other = dict(_leaves(base)), dict(_leaves(model))
    if one.get("rope_type") == other.get("rope_type") == "default":
        one.pop(_POSITIONS, None)  # how many there may be; angles do not depend on it
    for name in sorted(one.keys() & other.keys()):
        if not _alike(one[name], other[name]):
            yield name, one[name], other[name]


def _leaves(said: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """What counts, by names with dots between."""
    for name, value in _with_one_rope(said).items():
        if any(fnmatchcase(name, pattern) for pattern in _HARMLESS):
            continue
        if isinstance(value, dict):
            yield from _leaves(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", value


def _with_one_rope(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """transformers 5 writes `rope_parameters` for what `rope_theta` and `rope_scaling` were."""
    old = said.get("rope_scaling") or {}
    new = said.get("rope_parameters") or {}
    if not (isinstance(old, dict) and isinstance(new, dict) and said.keys() & {"rope_theta", "rope_parameters"}):
        return said
    rope = {"rope_type": "default", **old, **new}
    rope["rope_type"] = rope.pop("type", rope["rope_type"])
    return {name: value for name, value in said.items() if name not in ("rope_scaling", "rope_parameters")} | rope


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=_CLOSE)
    return bool(one == other)
