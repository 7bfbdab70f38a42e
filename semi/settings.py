"""How to adapt: the method and its constants."""

from __future__ import annotations

from dataclasses import dataclass

from semi.errors import InputError
from semi.methods import DEFAULTS, METHODS, READERS, Method
from semi.training.loop import Schedule

FEWEST_TO_HOLD_OUT = 8
"""With fewer pairs, a quarter of them says nothing about when to stop."""
MANY = 256
"""With so many pairs those held out are not missed: the method is trained once, and its best weights are kept."""
PASSES = 12
"""Over many pairs, at most."""


@dataclass(frozen=True)
class Settings:
    """How to adapt.

    Attributes:
        method: "semi" (hypernetwork, then training); "ridge" (the closed form without what the hypernetwork learned);
            or a baseline: "scratch" (a fresh projector), "finetune" (the shared one), "lora" (low-rank updates of the
            shared one), "bias" (the mean caption in the shared one's bias).
        shots: pairs drawn from those given; None: all of them.
        steps: gradient steps on the pairs; 0: none; None: what serves a quarter of the pairs when the method is first
            trained on the others (early stopping on the shots alone): for a baseline any number, for SEMI none or as
            many as there are pairs, from 16 to 32. With 256 pairs and more an eighth of them, 64 at most, is held out
            of one training, whose best weights are kept.
        lr: peak learning rate; None: the method's own.
        batch: pairs a step, all of them if there are no more.
        encoder: one of the modality's; None: its default.
        examples: pairs shown to the language model beside a sample, the nearest ones, as turns before it; None: as many
            as serve the pairs best when each is left out, of `semi.methods.EXAMPLES`; baselines show none.
        recall: whether the captions of the pairs have a say in every word that is written, see `semi.recall`; None: for
            SEMI where that serves the pairs when each is left out; baselines recall nothing.
        subsets: parts of the pairs that the hypernetwork reads one by one, their adapters averaged.
        hypernetwork: for "semi", which of the foundation's, "ridge" or "attention"; None: its default.
        diagnose: estimate loss and accuracy on pairs left out, and name doubtful pairs.

    Raises:
        InputError: on construction, where one of them is out of range.
    """

    method: Method = "semi"
    shots: int | None = None
    seed: int = 0
    steps: int | None = None
    lr: float | None = None
    batch: int = 32
    encoder: str | None = None
    examples: int | None = None
    recall: bool | None = None
    subsets: int = 1
    hypernetwork: str | None = None
    diagnose: bool = True

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError("unknown method", got=self.method, expected=", ".join(METHODS))
        for name, least in (("steps", 0), ("batch", 1), ("seed", 0), ("subsets", 1), ("examples", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is too small", got=value, expected=f"at least {least}")
        if self.hypernetwork is not None and self.method != "semi":
            raise InputError(f"method {self.method} uses no hypernetwork", got=self.hypernetwork, do="leave it out")
        if self.lr is not None and not 0 < self.lr < 1:
            raise InputError("the learning rate is out of range", got=self.lr, expected="between 0 and 1")

    @property
    def recalls(self) -> bool:
        """Whether captions are kept to be recalled."""
        return self.method in READERS if self.recall is None else self.recall

    def chooses_steps(self, pairs: int) -> bool:
        """Whether the number of steps is to be found on held-out pairs first."""
        return self.steps is None and FEWEST_TO_HOLD_OUT <= pairs < MANY

    def keeps_best(self, pairs: int) -> bool:
        """Whether one training watches held-out pairs and keeps its best weights."""
        return self.steps is None and pairs >= MANY

    def search(self) -> Schedule:
        """Of the training that finds the number of steps."""
        return self.schedule(DEFAULTS[self.method].probe)

    def schedule(self, steps: int | None = None, *, pairs: int = 0) -> Schedule:
        """The training schedule: of `steps`, else of those set, else of the most the method may take on so many pairs.

        On few pairs the rate is constant after its warm-up, so that training for fewer steps is the beginning of
        training for more; on many it falls, as the training that finds the best weights is the only one.
        """
        own = DEFAULTS[self.method]
        many = steps is None and self.keeps_best(pairs)
        if steps is None:
            steps = own.steps(pairs) if self.steps is None else self.steps
        if many:
            steps = max(steps, PASSES * -(-pairs // self.batch))
        return Schedule(
            steps=steps,
            lr=self.lr or own.lr,
            warmup=5,
            final_lr=0.05 if many else 1.0,
            validate_every=max(4, steps // 24) if many else 4,
            patience=6 if many else 2,
            seed=self.seed,
            save_every=10,
        )
