"""The methods of `semi merge` and their constants. No torch here: a configuration is checked without it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from semi.errors import InputError

MethodName = Literal["task_arithmetic", "ties", "dare", "emr", "tall", "mmer", "optimal", "ternary"]
Aggregation = Literal["dis-mean", "mean", "sum"]
MaskRule = Literal["tall", "agreement", "ternary"]
Tie = Literal["none", "plus"]
Tau = Literal["fp32", "bf16", "nf4"]


@dataclass(frozen=True)
class Method:
    """What a method needs of its caller, and what it gives.

    Args:
        aggregations: how it may join the models, the default first; none if it has one way only.
        keeps: whether entries are chosen before they are joined: by magnitude (`trim`) or `random`ly (DARE).
        mask: what each model gets back with: nothing of its own, one bit an entry, or a sign and a bit.
        normalised: whether deltas are divided by their rms first, so that a model with small ones is not starved; the
            shared vector is then in these units, and row scales bring it back.
    """

    aggregations: tuple[Aggregation, ...] = ()
    keeps: Literal["trim", "random"] | None = None
    mask: MaskRule | None = None
    normalised: bool = False


METHODS: dict[MethodName, Method] = {
    "task_arithmetic": Method(("sum", "mean")),
    "ties": Method(("dis-mean", "sum"), keeps="trim"),
    "dare": Method(("mean", "sum", "dis-mean"), keeps="random"),
    "emr": Method(mask="agreement"),
    "tall": Method(("sum", "mean"), mask="tall"),
    "mmer": Method(("dis-mean", "sum"), keeps="trim", mask="tall"),
    "optimal": Method(mask="tall", normalised=True),
    "ternary": Method(mask="ternary", normalised=True),
}
"""The methods by name: task arithmetic (arXiv 2212.04089), TIES (2306.01708), DARE (2311.03099), EMR (2405.17461),
TALL-masks (2405.07813), MMER (2505.17110), and the best codes of one bit, and of one bit and a sign, an entry."""


@dataclass(frozen=True)
class MethodSettings:
    """A method and its constants.

    Args:
        agg: how models are joined: `mean` or `sum` of all, `dis-mean` of those that agree with the elected sign (`sum`
            with TIES and MMER: of those, too); None is the method's default.
        alpha: factor of the shared vector.
        tie: what a sum of zero elects: nobody, or plus as in mergekit.
        lambdas: for each model the factor of its mask's rule, larger for sparser masks; None is 1 for all.
        share: of DARE, the share of entries that its random choice keeps, by which the rest is scaled up.
        tau: how the shared vector is stored (`semi.merge.lossy`); masks are made for what comes back of it.

    Raises:
        InputError: an unknown name, a number out of range, or a setting that the method does not have.
    """

    method: MethodName = "mmer"
    agg: Aggregation | None = None
    alpha: float = 1.0
    tie: Tie = "none"
    lambdas: tuple[float, ...] | None = None
    share: float = 1.0
    tau: Tau = "fp32"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError("there is no such merge method", got=self.method, expected=", ".join(METHODS))
        allowed = METHODS[self.method].aggregations
        if self.agg is not None and self.agg not in allowed:
            expected = ", ".join(allowed) or "none: it has one way only"
            raise InputError(f"{self.method} cannot join models like that", got=f"agg: {self.agg}", expected=expected)
        if not math.isfinite(self.alpha) or (self.alpha != 1 and not allowed):
            expected = "a finite number" if allowed else f"1: {self.method} finds its own scale"
            raise InputError("alpha does not fit the method", got=self.alpha, expected=expected)
        if self.tie not in get_args(Tie):
            raise InputError("there is no such rule for ties", got=self.tie, expected=", ".join(get_args(Tie)))
        if self.tau not in get_args(Tau):
            raise InputError("the shared vector cannot be stored so", got=self.tau, expected=", ".join(get_args(Tau)))
        if not all(0 <= factor < math.inf for factor in self.lambdas or ()):
            raise InputError("a lambda of the masks is out of range", got=self.lambdas, expected="0 or more, finite")
        if not 0 < self.share <= 1:
            raise InputError("the share that DARE keeps is out of range", got=self.share, expected="above 0, up to 1")
