"""Configuration of a merge, a YAML file checked whole before any work starts: `read_config(path, MergeConfig)`."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from semi.merge.methods import METHODS
from semi.training.config import PositiveFloat, Strict

Lambda = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Kept = Annotated[float, Field(gt=0, le=1)]
Rule = Literal["none", "tall", "agreement", "ternary"]
Scale = Literal["none", "row", "model"]

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

    rule: Rule | None = None
    """The method's own (`semi.merge.methods.METHODS`), spelt out; no other fits."""
    lambda_: Annotated[Lambda, Field(alias="lambda")] = 1.0
    """Of masks by the rule `tall`: higher is sparser."""
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

    def lambda_of(self, model: ModelConfig) -> float:
        """lambda of a model's mask."""
        return self.mask.lambda_ if model.lambda_ is None else model.lambda_

    @model_validator(mode="after")
    def _fits_together(self) -> MergeConfig:
        problems = []
        names = [model.name for model in self.models]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            problems.append(f"`models` need names of their own, got {', '.join(twice)} twice")
        method = self.merge.method
        if self.mask.rule not in (None, self.rule):
            problems.append(f"`mask.rule: {self.mask.rule}` does not fit {method}, which has {self.rule}")
        if METHODS[method].normalised and self.scale != "row":
            problems.append(f"`mask.scale: {self.scale}` does not fit {method}, whose vector needs row scales")
        masked = [f"models.{model.name}" for model in self.models if model.lambda_ is not None]
        masked += ["mask"] if "lambda_" in self.mask.model_fields_set else []
        if masked and self.rule != "tall":
            problems.append(f"`lambda` ({', '.join(masked)}) is of the rule tall; {method} has {self.rule}")
        if problems:
            raise ValueError("; ".join(problems))
        return self
