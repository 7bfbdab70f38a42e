"""Checks of an encoder: its embeddings, and what they must not depend on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

from semi.errors import InputError
from semi.testing.subject import Subject

ID = re.compile(r"[a-z0-9][a-z0-9._-]*/[^\s@]+@[^\s@]+")
THREADS = 4


class EncoderChecks(Subject):
    """`encode` maps each sample, and nothing else, to an embedding."""

    def test_id(self) -> None:
        """The id names modality, encoder and version; manifests record it."""
        found = getattr(self.loaded(), "id", None)
        if not isinstance(found, str) or not ID.fullmatch(found):
            self.fail(
                "the encoder has no proper id",
                got=repr(found),
                expected='"modality/encoder@version", e.g. "molecules/morgan@1"',
                do="set the attribute `id`; another version whenever the numbers change",
            )
        name = getattr(self.modality, "name", None)
        if name is not None and not found.startswith(f"{name}/"):
            self.fail("the id names another modality", got=found, expected=f"{name}/...", do="let it begin so")

    def test_shape(self) -> None:
        """Embeddings are an array (n, width) or (n, t, width) of n samples."""
        import numpy as np

        found, n, width = self.embeddings(), len(self.samples), self.loaded().width
        expected = f"({n}, {width}) or ({n}, t, {width})"
        if not isinstance(found, np.ndarray):
            self.fail("`encode` gives no array", got=type(found), expected=expected, do="return a numpy.ndarray")
        if found.ndim not in (2, 3) or len(found) != n or not found.size:
            self.fail("the shape of embeddings is wrong", got=found.shape, expected=expected, do="see semi.modality")

    def test_width(self) -> None:
        """`width` is that of the embeddings."""
        found, width = self.embeddings().shape[-1], self.loaded().width
        if type(width) is not int or width != found:
            self.fail(
                "`width` is not that of the embeddings",
                got=repr(width),
                expected=f"the int {found}",
                do="set the attribute `width`",
            )

    def test_dtype(self) -> None:
        """Embeddings are float32."""
        import numpy as np

        if self.embeddings().dtype != np.float32:
            self.fail(
                "embeddings have the wrong type",
                got=self.embeddings().dtype,
                expected="float32",
                do="return embeddings.astype(numpy.float32)",
            )

    def test_finite(self) -> None:
        """Embeddings of good samples are finite."""
        import numpy as np

        bad = int((~np.isfinite(self.embeddings())).sum())
        if bad:
            self.fail(
                "embeddings are not finite",
                got=f"{bad} numbers that are NaN or infinite",
                expected="finite numbers",
                do="find the division or logarithm of zero",
            )

    def test_samples_differ(self) -> None:
        """Different samples get different embeddings."""
        import numpy as np

        found = self.embeddings()
        if any(np.array_equal(found[0], row) for row in found[1:]):
            self.fail(
                "different samples get the same embedding",
                got="equal rows",
                expected="rows that differ",
                do="check that the encoder reads the samples, and that `samples` differ",
            )

    def test_deterministic(self) -> None:
        """The same samples give the same embeddings, bit for bit."""
        self._require_equal(
            self.loaded().encode(self.parsed()),
            "the same samples get other embeddings the second time",
            "switch off dropout (model.eval()), and draw random numbers from a fixed seed of your own",
        )

    def test_batch_equals_single(self) -> None:
        """An embedding does not depend on the batch it is computed in."""
        import numpy as np

        alone = np.concatenate([self.loaded().encode([sample]) for sample in self.parsed()])
        self.require_close(
            alone,
            self.embeddings(),
            "a sample alone gets another embedding than in a batch",
            "normalise nothing over the batch, and do not let padding change a result",
        )

    def test_order_is_kept(self) -> None:
        """Samples in another order give the same embeddings in that order."""
        self.require_close(
            self.loaded().encode(self.parsed()[::-1]),
            self.embeddings()[::-1],
            "embeddings change with the order of the samples",
            "let each embedding depend on its own sample alone, and return them in the order given",
        )

    def test_empty_batch(self) -> None:
        """No samples give no embeddings: (0, width) or (0, t, width)."""
        import numpy as np

        width, expected = self.embeddings().shape[-1], f"float32 of shape (0, {self.embeddings().shape[-1]})"
        do = "start `encode` with: if not samples: return numpy.zeros((0, self.width), numpy.float32)"
        try:
            found = self.loaded().encode([])
        except Exception as error:
            self.fail("no samples are an error", got=f"{type(error).__name__}: {error}", expected=expected, do=do)
        got = f"{getattr(found, 'dtype', type(found))} of shape {getattr(found, 'shape', None)}"
        fits = isinstance(found, np.ndarray) and found.dtype == np.float32 and found.ndim in (2, 3)
        if not fits or len(found) != 0 or found.shape[-1] != width:
            self.fail("no samples give something else than no embeddings", got=got, expected=expected, do=do)

    def test_nan_and_infinity(self) -> None:
        """NaN or infinity in a sample is refused, or has no part in the embedding."""
        import numpy as np

        self.owned()  # an encoder gets what `parse` let through
        tried = 0
        for bad in (np.nan, np.inf, -np.inf):
            for sample in self.samples[:1]:
                spoilt = _with(sample, bad)
                if spoilt is None:
                    continue
                tried += 1
                try:
                    with np.errstate(all="ignore"):
                        found = self.loaded().encode([self.parse(spoilt)])
                except InputError:
                    continue
                except Exception as error:
                    found, got = None, f"{type(error).__name__}: {error}"
                if found is None or not np.isfinite(found).all():
                    self.fail(
                        f"a sample with {bad} is neither refused nor embedded",
                        got=got if found is None else "an embedding that is not finite",
                        expected="a PairsError, or a finite embedding",
                        do="look for numbers that are not finite in `parse`",
                    )
        if not tried:
            raise self.skipped("the samples hold no numbers (name damaged ones in `refused`)")

    def test_samples_stay_as_they_are(self) -> None:
        """`encode` changes nothing in the samples."""
        samples = deepcopy(self.parsed())
        self.loaded().encode(samples)
        if not _same(samples, self.parsed()):
            self.fail(
                "`encode` changes the samples",
                got="other samples afterwards",
                expected="the same",
                do="copy what you work on",
            )

    def test_embeddings_are_the_callers(self) -> None:
        """Writing into the result does not change later results."""
        found = self.loaded().encode(self.parsed())
        if not found.flags.writeable:
            return
        found[...] = 0
        self._require_equal(
            self.loaded().encode(self.parsed()),
            "writing into embeddings changes the next ones",
            "return a new array, not a view of a cache or of a network's buffer",
        )

    def test_threads(self) -> None:
        """Several threads may share the encoder."""
        import numpy as np

        encoder, samples = self.loaded(), self.parsed()
        turns = [i % len(samples) for i in range(2 * THREADS)]
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(lambda turn: encoder.encode([samples[turn]]), turns))
        self.require_close(
            np.concatenate(found),
            self.embeddings()[turns],
            "threads that share the encoder get other embeddings",
            "keep nothing of a call on the encoder, or lock around what cannot be shared",
        )

    def test_loading_again(self) -> None:
        """A saved integration loads the encoder by name: it must have the same id and give the same embeddings."""
        self.owned()
        again = self.fresh()
        if again.id != self.loaded().id:
            self.fail(
                "the encoder has another id when it is loaded again",
                got=again.id,
                expected=self.loaded().id,
                do="let the id depend on the encoder's name and version alone",
            )
        self._require_equal(
            again.encode(self.parsed()),
            "the encoder gives other embeddings when it is loaded again",
            "fix the seed of random weights, and load all weights",
        )

    def test_exported_network(self) -> None:
        """What `network` would export gives the embeddings, of arrays that are as it says; an encoder may have none."""
        build = getattr(self.loaded(), "network", None)
        if build is None:
            return
        import numpy as np
        import torch

        network, rows = build(), []
        for sample in self.parsed():
            array = network.prepare(sample)
            fits = len(array.shape) == len(network.shape) and array.dtype == network.dtype
            if not fits or any(n != m for n, m in zip(network.shape, array.shape, strict=True) if isinstance(n, int)):
                self.fail(
                    "`network` prepares another array than it says",
                    got=f"{array.dtype} {array.shape}",
                    expected=f"{network.dtype} {network.shape}",
                    do="let `shape` and `dtype` describe what `prepare` returns",
                )
            with torch.inference_mode():
                rows.append(network.module(torch.from_numpy(array)).numpy())
        self.require_close(
            np.stack(rows),
            self.embeddings(),
            "the network that would be exported gives other embeddings than the encoder",
            "let `encode` and `network` share what they compute",
        )

    def _require_equal(self, found: Any, what: str, do: str) -> None:
        import numpy as np

        wanted = self.embeddings()
        if not np.array_equal(found, wanted):
            same = getattr(found, "shape", None) == wanted.shape
            got = f"a difference of {np.abs(found - wanted).max():.3g}" if same else f"shape {np.shape(found)}"
            self.fail(what, got=got, expected="equal embeddings", do=do)


def _with(sample: Any, bad: float) -> Any:
    """A copy of a sample with its first number of a series replaced; None where it holds no series of numbers."""
    import numpy as np

    if isinstance(sample, np.ndarray):
        if sample.dtype.kind not in "fiu" or not sample.size:
            return None
        spoilt = sample.astype(np.float64 if sample.dtype.kind != "f" else sample.dtype)
        spoilt.flat[0] = bad
        return spoilt
    if isinstance(sample, list | tuple) and sample:
        first = bad if isinstance(sample[0], int | float) else _with(sample[0], bad)
        return None if first is None else type(sample)([first, *sample[1:]])
    if isinstance(sample, Mapping):
        for key, value in sample.items():
            spoilt = _with(value, bad)
            if spoilt is not None:
                return {**sample, key: spoilt}
    return None


def _same(one: Any, other: Any) -> bool:
    import numpy as np

    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    plain = isinstance(one, str | bytes | int | float | Path | None)
    return one == other if plain else True  # of objects of a plugin's own nothing is known
