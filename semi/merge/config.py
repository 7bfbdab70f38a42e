"""Configuration of a merge, a YAML file checked whole before any work starts: `read_config(path, MergeConfig)`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from semi.errors import InputError
from semi.merge.methods import METHODS, Tau
from semi.yaml_config import PositiveFloat, Strict

Lambda = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Kept = Annotated[float, Field(gt=0, le=1)]
Rule = Literal["none", "tall", "agreement", "ternary"]
Scale = Literal["none", "row", "model"]
GRID = (0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0)

# As GNU tools have it: M is 2**20 bytes, MB is 10**6.
_UNITS = {
    unit: base**power
    for power, letter in enumerate(("", "K", "M", "G", "T"))
    for unit, base in ((letter, 1024), (f"{letter}IB", 1024), (f"{letter}B", 1000))
}


def parse_size(value: Any) -> Any:
    """Bytes of a size such as "512M", "2G" or "1.5GB"; K, M, G and T count in 1024, KB, MB, GB and TB in 1000.

    Raises:
        ValueError: a text that is no size.
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Z]*)\s*", value.upper())
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{value!r} is no size: write a number of bytes, 512M or 2G")
    return round(float(match[1]) * _UNITS[match[2]])


Size = Annotated[PositiveInt, BeforeValidator(parse_size)]


class ModelConfig(Strict):
    """One model to merge: a fine-tune of the base, or a LoRA adapter for it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    """The modality; names its files."""
    path: str
    """Folder of safetensors, or hub id."""
    adapter: Literal["none", "lora"] = "none"
    llm_prefix: str = ""
    """Begins the keys of the language model within a multimodal one."""
    keep: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Beginnings of the keys, without `llm_prefix`, that are copied: encoders and connectors, which the base lacks."""
    lambda_: Annotated[Lambda | None, Field(alias="lambda")] = None
    """Of this model's mask; None: `mask.lambda`."""


class _Method(Strict):
    scale: ClassVar[Scale] = "none"
    """Of the shared vector for each model, unless `mask.scale` says otherwise."""

    tau: Tau = "fp32"
    """How the shared vector is stored: exactly; rounded to bfloat16; or in 4 bits an entry, with a scale every 64.
    Masks and row scales are made for what is stored."""


class _Scaled(_Method):
    alpha: PositiveFloat = 1.0
    """Factor of the shared vector."""


class _Trimmed(_Scaled):
    trim: Kept = 0.2
    """Share of the entries that is kept."""
    tie: Literal["none", "plus"] = "none"
    """What an entry gets whose models sum to zero: no sign, or a positive one, as mergekit has it."""


class TaskArithmetic(_Scaled):
    """Sum or mean of the deltas (arXiv 2212.04089)."""

    method: Literal["task_arithmetic"]
    agg: Literal["sum", "mean"] = "sum"


class Ties(_Trimmed):
    """Trim, elect signs, merge what agrees (arXiv 2306.01708)."""

    method: Literal["ties"]
    trim_scope: Literal["global", "tensor"] = "global"
    agg: Literal["dis-mean", "sum"] = "dis-mean"


class Dare(_Trimmed):
    """Drop at random, rescale by 1 / trim, then mean or sum of all, or "dis-mean" as in TIES (arXiv 2311.03099)."""

    method: Literal["dare"]
    agg: Literal["mean", "dis-mean", "sum"] = "mean"
    seed: Annotated[int, Field(ge=0)] = 0


class Emr(_Method):
    """Elect, mask, rescale (arXiv 2405.17461)."""

    method: Literal["emr"]
    scale: ClassVar[Scale] = "model"


class Tall(_Scaled):
    """Task arithmetic under TALL-masks (arXiv 2405.07813)."""

    method: Literal["tall"]
    agg: Literal["sum", "mean"] = "sum"


class Mmer(_Trimmed):
    """TIES under TALL-masks (arXiv 2505.17110)."""

    method: Literal["mmer"]
    trim_scope: Literal["global", "tensor"] = "global"
    agg: Literal["dis-mean", "sum"] = "dis-mean"


class Optimal(_Method):
    """The vector and masks of least squared error, in closed form."""

    method: Literal["optimal"]
    scale: ClassVar[Scale] = "row"


class Ternary(_Method):
    """As `Optimal`, with a sign for each entry of a mask."""

    method: Literal["ternary"]
    scale: ClassVar[Scale] = "row"


Method = TaskArithmetic | Ties | Dare | Emr | Tall | Mmer | Optimal | Ternary


class MaskConfig(Strict):
    """How each model gets its own part of the shared vector back."""

    rule: Literal[Rule, "budget"] | None = None
    """The method's own (`semi.merge.methods.METHODS`), spelt out, or `budget`: the rule `tall` for those rows of
    tensors where its bits save the most error, for the others all or nothing of the shared vector's row."""
    bits: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Of the rule `budget`: bits on the disk for each entry that is merged, for each model. 1 is as much as the rule
    `tall` can take."""
    lambda_: Annotated[Lambda | Literal["auto"], Field(alias="lambda")] = 1.0
    """Of masks by the rule `tall`: higher is sparser. `auto`: of `grid`, what leaves each model's predictions on
    `prompts` nearest to its original's."""
    prompts: str | None = None
    """Of `lambda: auto`: a text file with a prompt in each line, 64 at most. Encoders have no part in it: models that
    have them are compared on text, too."""
    grid: Annotated[tuple[Lambda, ...], Field(min_length=1)] | None = None
    """Of `lambda: auto`: what is tried, 0.2 to 2 in eight steps if not given."""
    pack: Literal["bit"] = "bit"
    scale: Scale | None = None
    """A factor of the shared vector: of each row by least squares, or of the model as in EMR (sum |tau| / sum |m v|);
    None: what belongs to the method."""


class IOConfig(Strict):
    """Resources."""

    max_memory: Size = 512 << 20
    """Bytes of anonymous memory."""
    shard: Size = 2 << 30
    """Bytes of the largest file that is written."""
    resume: bool = True


class VerifyConfig(Strict):
    """What a merge must reach."""

    max_residual: PositiveFloat = 0.6
    """Of any model: sum ||delta - recovered delta||^2 / sum ||delta||^2."""
    require_all_keys: bool = True
    """Whether each key of a model must be in the base or be named by `keep`; otherwise what is in neither is kept too.
    Keys of the base that a model lacks are refused in any case."""


class MergeConfig(Strict):
    """`semi merge run`."""

    base_model: str
    """Folder of safetensors, or hub id."""
    models: Annotated[list[ModelConfig], Field(min_length=1)]
    merge: Annotated[Method, Field(discriminator="method")]
    mask: MaskConfig = MaskConfig()
    exclude_exact: tuple[str, ...] = ("*norm*", "*.bias")
    """Patterns of keys, as of file names, that each model keeps unchanged; all tensors of one dimension are kept."""
    io: IOConfig = IOConfig()
    verify: VerifyConfig = VerifyConfig()

    @property
    def rule(self) -> Rule:
        """The masks that the method makes."""
        return METHODS[self.merge.method].mask or "none"

    @property
    def scale(self) -> Scale:
        """`mask.scale`, or the method's own."""
        return self.mask.scale or self.merge.scale

    @property
    def budget(self) -> float | None:
        """Bits an entry that masks may take; None: as many as they need, which is one at most."""
        return self.mask.bits if self.mask.bits is not None and self.mask.bits < 1 else None

    @property
    def lossy(self) -> bool:
        """Whether storing the merge loses something of what its method gives."""
        return self.merge.tau != "fp32" or self.budget is not None

    @property
    def grid(self) -> tuple[float, ...]:
        """What `lambda: auto` tries, ascending."""
        return tuple(sorted(set(self.mask.grid or GRID)))

    @property
    def unsettled(self) -> tuple[str, ...]:
        """The models whose lambda is to be found."""
        if self.mask.lambda_ != "auto":
            return ()
        return tuple(model.name for model in self.models if model.lambda_ is None)

    def settled(self, lambdas: Mapping[str, float]) -> MergeConfig:
        """The same merge, with the lambda that was found for some models."""
        models = [
            model.model_copy(update={"lambda_": lambdas[model.name]}) if model.name in lambdas else model
            for model in self.models
        ]
        return self.model_copy(update={"models": models})

    def lambda_of(self, model: ModelConfig) -> float:
        """lambda of a model's mask.

        Raises:
            InputError: it is `auto` and was not found yet.
        """
        found = self.mask.lambda_ if model.lambda_ is None else model.lambda_
        if found == "auto":
            raise InputError(f"lambda of {model.name} is to be found first", do="settle the configuration (`settled`)")
        return found

    @model_validator(mode="after")
    def _fits_together(self) -> MergeConfig:
        problems = []
        names = [model.name for model in self.models]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            problems.append(f"`models` need names of their own, got {', '.join(twice)} twice")
        method = self.merge.method
        if self.mask.rule not in (None, "budget", self.rule):
            problems.append(f"`mask.rule: {self.mask.rule}` does not fit {method}, which has {self.rule}")
        if METHODS[method].normalised and self.scale != "row":
            problems.append(f"`mask.scale: {self.scale}` does not fit {method}, whose vector needs row scales")
        masked = [f"models.{model.name}" for model in self.models if model.lambda_ is not None]
        masked += ["mask"] if "lambda_" in self.mask.model_fields_set else []
        if masked and self.rule != "tall":
            problems.append(f"`lambda` ({', '.join(masked)}) is of the rule tall; {method} has {self.rule}")
        problems += [*self._budget_problems(), *self._auto_problems()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _budget_problems(self) -> Iterator[str]:
        if (self.mask.rule == "budget") != (self.mask.bits is not None):
            yield "`mask.rule: budget` and `mask.bits` go together"
        if self.mask.rule == "budget" and self.rule != "tall":
            yield f"`mask.rule: budget` is for methods of the rule tall; {self.merge.method} has {self.rule}"
        if self.mask.rule == "budget" and self.scale == "model":
            yield "`mask.scale: model` is known after the last mask, and `mask.rule: budget` weighs rows before"

    def _auto_problems(self) -> Iterator[str]:
        auto = self.mask.lambda_ == "auto"
        if auto != (self.mask.prompts is not None):
            yield "`mask.lambda: auto` and `mask.prompts` go together"
        if self.mask.grid is not None and not auto:
            yield "`mask.grid` is of `mask.lambda: auto`"
        if auto and self.mask.rule == "budget":
            yield "`mask.lambda: auto` looks for the best masks by the rule tall, not by a budget"
        if auto and self.scale == "model":
            yield "`mask.scale: model` is known after the last mask, and `mask.lambda: auto` compares models before"
