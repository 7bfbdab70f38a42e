"""What a study compares: YAML, checked whole before any work starts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, TypeAdapter, ValidationError, field_validator, model_validator

from semi.errors import SemiError
from semi.methods import DEFAULTS
from semi.settings import Settings
from semi.study.conditions import CONDITIONS
from semi.yaml_config import PositiveFloat, Strict

Seed = Annotated[int, Field(ge=0)]
Shots = Annotated[int, Field(ge=2)] | Literal["full"]
GIVEN = ("shots", "seed", "encoder")
"""Settings that the study gives to each of its cells itself."""
_NAME = re.compile(r"[\w.+() -]+")


def read_settings(settings: dict[str, Any], **given: Any) -> Settings:
    """Settings from a mapping of them; `given` are those of GIVEN, and `diagnose` is false unless it is set.

    Raises:
        ValueError: unknown settings, or values of another kind or out of range.
    """
    known = [field.name for field in fields(Settings) if field.name not in GIVEN]
    if unknown := sorted(set(settings) - set(known)):
        raise ValueError(f"unknown settings {', '.join(unknown)}; known are {', '.join(known)}")
    chosen = {"diagnose": False} | settings | given
    try:
        # As JSON, where a mapping may stand for a dataclass and nothing else is converted.
        return TypeAdapter(Settings).validate_json(json.dumps(chosen), strict=True)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r}" for e in error.errors()]
        raise ValueError("; ".join(problems)) from None
    except SemiError as error:
        raise ValueError(" ".join(str(error).split())) from None


class TargetConfig(Strict):
    """Data that no method saw in its training: `dataset`, or two pairs files."""

    name: str
    modality: str
    dataset: str | None = None
    """A data set that a plugin registered; shots come from its split train, held-out samples from test."""
    train: Path | None = None
    test: Path | None = None
    encoder: str | None = None
    """One of the modality's; None: its default."""
    width: PositiveInt | None = None
    """Map the embeddings to this width, at random and with orthonormal rows or columns; None: as they are."""
    held_out: PositiveInt = 128
    """Test samples, drawn with seed 0: the same for every cell. All of them if there are no more."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        files = (self.train, self.test)
        if (self.dataset is None) != all(files) or (self.dataset is not None and any(files)):
            raise ValueError("give either `dataset`, or `train` and `test` (pairs files)")
        return self

    def source(self, split: str) -> str:
        """What `read_pairs` reads for "train" or "test"."""
        return str(self.dataset or (self.train if split == "train" else self.test))


class MethodConfig(Strict):
    """One way to adapt."""

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of `semi.settings.Settings`; `diagnose` is false unless it is set."""
    shots: Annotated[list[Shots], Field(min_length=1)]
    foundation: str | None = None
    """In place of the study's; for baselines that no pretraining changes, the first of them."""

    @field_validator("settings")
    @classmethod
    def _known(cls, settings: dict[str, Any]) -> dict[str, Any]:
        read_settings(settings)
        return settings

    @property
    def reads(self) -> str:
        """What names what it reads of a foundation, see `semi.study.measure.foundation_sha256`."""
        chosen = read_settings(self.settings)
        return f"{chosen.method}/{chosen.hypernetwork}" if chosen.hypernetwork else chosen.method

    @property
    def meaning(self) -> dict[str, Any]:
        """What its cells depend on: the settings, and of the method's defaults those that the settings leave open."""
        chosen = read_settings(self.settings)
        defaults = asdict(DEFAULTS[chosen.method]) if chosen.steps != 0 else {}
        used = {"lr": chosen.lr, "most_steps": chosen.steps, "probe": chosen.steps}
        defaults = {k: v for k, v in defaults.items() if used[k] is None}
        return {"settings": self.settings, "defaults": defaults, "recall": chosen.recalls}


class StudyConfig(Strict):
    """What all studies have."""

    foundations: Annotated[list[str], Field(min_length=1)]
    """Registered names or folders; more than one are seeds of pretraining, and are averaged."""
    seeds: Annotated[list[Seed], Field(min_length=1)]
    """Of the draws of shots."""
    generate: Annotated[int, Field(ge=0)] = 0
    """For how many of the held-out samples text is written and scored."""
    targets: Sequence[TargetConfig]
    methods: Sequence[MethodConfig]
    processes: Annotated[int, Field(ge=0)] = 1
    """0: in the process of the command itself."""
    threads: PositiveInt | None = None
    """Of torch in each process; None: the machine's cores shared out evenly."""

    @field_validator("seeds", "foundations")
    @classmethod
    def _once(cls, values: list[Any]) -> list[Any]:
        return require_distinct(values)

    def foundations_of(self, method: MethodConfig) -> list[str]:
        """What the cells of a method start from."""
        return [method.foundation] if method.foundation else self.foundations

    def all_foundations(self) -> list[str]:
        """What the cells of any method start from."""
        return list(dict.fromkeys(name for method in self.methods for name in self.foundations_of(method)))


class EfficiencyConfig(StudyConfig):
    """`semi study sample-efficiency`."""

    targets: Annotated[list[TargetConfig], Field(min_length=1)]
    methods: Annotated[list[MethodConfig], Field(min_length=1)]
    baselines: list[str] = Field(default_factory=list)
    """Names of methods; every other method is compared with each of them."""
    match_shots: PositiveInt = 32
    """How many shots of a baseline serve as well as this many of another method?"""
    draws: Annotated[int, Field(ge=100)] = 10_000
    """Of the bootstrap."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        require_names(self.targets, "targets")
        require_names(self.methods, "methods")
        if unknown := sorted(set(self.baselines) - {method.name for method in self.methods}):
            raise ValueError(f"`baselines` names no method: {', '.join(unknown)}")
        return self


class StressTarget(TargetConfig):
    """A target, and what some conditions need of it."""

    groups: list[str] = Field(default_factory=list)
    """Slots of the captions' attributes whose values (with several: combinations of values) the shift separates."""
    other_encoder: str | None = None
    """Another encoder of the same width, for the swap."""
    other_data: str | None = None
    """Name of another target, whose samples are foreign to this one."""


class StressMethod(MethodConfig):
    """A method at the study's one number of shots."""

    shots: Annotated[list[Shots], Field(min_length=1)] = Field(default=[32])


class ConditionConfig(Strict):
    """One kind of trouble."""

    name: str
    strengths: Annotated[list[PositiveFloat], Field(min_length=1)]


class StressConfig(StudyConfig):
    """`semi study stress`."""

    targets: Annotated[list[StressTarget], Field(min_length=1)]
    methods: Annotated[list[StressMethod], Field(min_length=1)]
    conditions: Annotated[list[ConditionConfig], Field(min_length=1)]
    """See `semi.study.conditions`."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        require_names(self.targets, "targets")
        require_names(self.methods, "methods")
        names = {target.name for target in self.targets}
        problems = [
            f"unknown condition {c.name!r}; known are {', '.join(CONDITIONS)}"
            for c in self.conditions
            if c.name not in CONDITIONS
        ]
        problems += [
            f"`other_data` of {target.name!r} names no other target: {target.other_data!r}"
            for target in self.targets
            if target.other_data is not None and target.other_data not in names - {target.name}
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def require_names(things: Iterable[TargetConfig] | Iterable[MethodConfig], what: str) -> None:
    """Refuse names that are used twice or hold signs that a name of a cell cannot."""
    names = [thing.name for thing in things]
    require_distinct(names, f"names of {what}")
    if strange := [name for name in names if not _NAME.fullmatch(name)]:
        raise ValueError(f"names of {what} are letters, digits and . + ( ) - _: {', '.join(map(repr, strange))}")


def require_distinct(values: list[Any], what: str = "values") -> list[Any]:
    """Refuse what stands in a list twice."""
    if twice := sorted({str(value) for value, n in Counter(map(str, values)).items() if n > 1}):
        raise ValueError(f"{what} stand there twice: {', '.join(twice)}")
    return values
