"""What the checks look at: an encoder, the modality it belongs to, a few samples, and its embeddings of these."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar
from unittest import SkipTest

from semi.errors import AssetError, InputError, SemiError
from semi.modality import Encoder, Modality

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


class ConformanceError(SemiError, AssertionError):
    """An encoder or a modality breaks a promise; says which, what was found and what to change."""


class Subject:
    """The attributes that a test class sets, and what is computed from them once for all its checks."""

    modality: Modality | None = None
    """The modality. None: the encoder alone is tried, and the checks of modalities are skipped."""
    encoder: str | Encoder | None = None
    """The name of one of the modality's encoders (None: its default), or an encoder where there is no modality."""
    samples: Sequence[Any] = ()
    """At least three samples that differ, as they stand in a pairs file; as `encode` takes them without a modality."""
    refused: Sequence[Any] = ()
    """Samples that `parse` has to refuse: another unit, no sampling rate, damaged, ..."""
    module: str | None = None
    """What is imported when the plugin is loaded; None: the module of the modality's class."""
    tolerance: float = 1e-5
    """How much of the largest absolute value a batch may change in an embedding."""

    _kept: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._kept = {}

    def loaded(self) -> Encoder:
        """The encoder, loaded once."""
        return self._keep("encoder", self.fresh)

    def fresh(self) -> Encoder:
        """The encoder as the modality gives it anew; skips the check where it has not been fetched."""
        if self.modality is None:
            if self.encoder is None or isinstance(self.encoder, str):
                raise InputError("nothing to try", expected="a class attribute modality, or encoder with an Encoder")
            return self.encoder
        if self.encoder is not None and not isinstance(self.encoder, str):
            return self.encoder
        try:
            return self.modality.encoder(self.encoder)
        except AssetError as error:
            raise SkipTest(f"{error.what}; {error.do}") from error

    def owned(self) -> Modality:
        """The modality; skips the check where there is none."""
        if self.modality is None:
            raise SkipTest("an encoder alone is tried, without its modality")
        return self.modality

    def parsed(self) -> list[Any]:
        """The samples as `encode` takes them."""
        if len(self.samples) < 3:
            raise InputError(
                "too few samples to try an encoder on", got=len(self.samples), expected="3 samples that differ"
            )
        return self._keep("parsed", lambda: [self.parse(sample) for sample in self.samples])

    def parse(self, sample: Any) -> Any:
        """A sample as `encode` takes it."""
        return sample if self.modality is None else self.modality.parse(sample)

    def embeddings(self) -> np.ndarray:
        """The loaded encoder's embeddings of the samples, (n, d_enc) or (n, t, d_enc)."""
        return self._keep("embeddings", lambda: deepcopy(self.loaded().encode(self.parsed())))

    def require_close(self, got: np.ndarray, wanted: np.ndarray, what: str, do: str) -> None:
        """Fail where embeddings differ by more than the tolerance."""
        import numpy as np

        if got.shape != wanted.shape:
            self.fail(what, got=f"shape {got.shape}", expected=f"shape {wanted.shape}", do=do)
        allowed = self.tolerance * max(1.0, float(np.abs(wanted).max(initial=0)))
        difference = float(np.abs(got - wanted).max(initial=0))
        if not difference <= allowed:
            self.fail(what, got=f"a difference of {difference:.3g}", expected=f"at most {allowed:.3g}", do=do)

    def fail(self, what: str, *, got: object, expected: object, do: str) -> NoReturn:
        """End the check: what is wrong, got, expected, what to do."""
        raise ConformanceError(what, got=got, expected=expected, do=do)

    def skipped(self, why: str) -> SkipTest:
        """To raise where a check does not apply; pytest understands it."""
        return SkipTest(why)

    def in_new_process(self, code: str, *arguments: str, **environment: str) -> str:
        """What a program prints in a process with the same sys.path; fails the check where it ends badly."""
        start = "import sys; sys.path[:] = sys.argv.pop().split(chr(10)); exec(sys.argv.pop())"
        done = subprocess.run(
            [sys.executable, "-c", start, *arguments, code, "\n".join(sys.path)],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            self.fail(
                "it cannot be imported in a process of its own",
                got=last,
                expected="an import that depends on nothing done before it",
                do="import what it needs where it is needed",
            )
        return done.stdout

    def _keep(self, name: str, make: Callable[[], T]) -> T:
        if name not in self._kept:
            self._kept[name] = make()
        value: T = self._kept[name]
        return value
