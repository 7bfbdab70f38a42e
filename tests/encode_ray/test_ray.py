"""Ray Data as the engine of `semi encode`: the bytes of the local loop, whatever happens to a worker."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from semi.encoding import load_encoded, write_encoded
from semi.errors import PairsError, PluginError, SemiError
from semi.modality import Encoder, Modality
from semi.pairs import Pair

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")

from semi.encoding.on_ray import RayEngine  # noqa: E402  # only with Ray

# Of Ray, about itself; it leaves its own files open to the end of the process.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::ResourceWarning")
N, SHARD = 2000, 50


class Numbers(Modality):
    """Numbers, embedded by their digits."""

    name = "numbers"
    instruction = "Describe this number."

    def encoder(self, name: str | None = None) -> Encoder:
        return Digits()


class Digits:
    """The digits of a number and how long the name of its type is.

    It leaves a file in `seen` for each batch, named by process and first number. At some numbers it fails: NaN at
    `nan`, an exception at `raises`, the end of the process at `dies`.
    """

    id = "numbers/digits@1"
    width = 5

    def __init__(self, seen: Path | None = None, *, seconds: float = 0, **failures: int) -> None:
        self.seen, self.seconds, self.failures = seen, seconds, failures

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        time.sleep(self.seconds)
        numbers = [number_of(sample) for sample in samples]
        if self.seen:
            (self.seen / f"{os.getpid()}-{numbers[0]}-{time.monotonic_ns()}").touch()
        at = {what for what, number in self.failures.items() if number in numbers}
        if "dies" in at:
            os.kill(os.getpid(), signal.SIGKILL)
        if "raises" in at:
            raise RuntimeError("out of order")
        rows = np.array([[number // 10**place % 10 for place in range(5)] for number in numbers], np.float32)
        rows[:, 4] = [len(type(sample).__name__) for sample in samples]
        if "nan" in at:
            rows[numbers.index(self.failures["nan"]), 2] = np.nan
        return rows


def number_of(sample: Any) -> int:
    return int(next(iter(sample.values())) if isinstance(sample, dict) else np.ravel(sample)[0])


def sample_of(number: int) -> Any:
    """Types that must arrive as they are: Arrow would make lists of tuples and arrays, and one type of all objects."""
    types = (int, lambda n: (n,), lambda n: np.array([n], np.float32), lambda n: {f"key {n % 3}": n}, np.int64)
    return types[number % 5](number)


PAIRS = [Pair(sample_of(n), f"the number {n}", attributes={"even": str(n % 2 == 0)}) for n in range(N)]


@pytest.fixture(scope="module", autouse=True)
def sent_to_workers() -> Iterator[None]:
    """They cannot import a module of tests: its classes travel whole."""
    module = sys.modules[__name__]
    ray.cloudpickle.register_pickle_by_value(module)
    yield
    ray.cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture
def cluster() -> Iterator[None]:
    """A cluster that was there before; the engine leaves it as it is."""
    if not ray.is_initialized():
        ray.init("local", num_cpus=2, object_store_memory=2**27, include_dashboard=False, log_to_driver=False)
    yield
    assert ray.is_initialized()


@pytest.fixture(scope="module", autouse=True)
def ended() -> Iterator[None]:
    yield
    ray.shutdown()


def run(out: Path, make: Callable[[], Any] | None, **options: Any) -> Any:
    """With Ray where `make` is given, else with the local loop."""
    engine = RayEngine(make, memory=2**27) if make else None
    settings = {"shard_size": SHARD, "format": "parquet", **options}
    return write_encoded(Numbers(), Digits(), settings.pop("pairs", PAIRS), out, engine=engine, **settings)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def kill_a_worker(out: Path, seen: Path, killed: list[int]) -> None:
    """When half of the shards are there, of the process that began a batch last."""
    while len(list(out.glob("embeddings-*"))) < N // SHARD // 2:
        time.sleep(0.01)
    last = max(seen.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    killed.append(int(last.name.partition("-")[0]))
    os.kill(killed[0], signal.SIGKILL)


def test_a_killed_worker_changes_nothing(tmp_path: Path) -> None:
    """2,000 samples, 2 workers, one killed half-way, on a cluster of the engine's own."""
    run(tmp_path / "local", None)
    seen, killed = tmp_path / "seen", []
    seen.mkdir()
    out = tmp_path / "ray"
    watcher = Thread(target=kill_a_worker, args=(out, seen, killed), daemon=True)
    watcher.start()
    told: list[tuple[int, int]] = []
    shape = run(out, partial(Digits, seen, seconds=0.05), progress=lambda done, n: told.append((done, n)))
    watcher.join()
    assert shape == (N, 5)
    assert content(out) == content(tmp_path / "local")
    assert told == [(done, N) for done in range(SHARD, N + 1, SHARD)]  # none twice, none missing
    began = {path.name.partition("-")[0] for path in seen.iterdir()}
    assert len(began) == 3  # two workers, and the one that came in the place of the killed
    assert not ray.is_initialized()
    loaded = load_encoded(out)
    assert [pair.caption for pair in loaded.pairs] == [pair.caption for pair in PAIRS]
    assert [number_of(pair.sample) for pair in loaded.pairs] == list(range(N))
    assert loaded.pairs[3] == PAIRS[3]


def test_finished_shards_are_skipped_and_either_engine_goes_on(cluster: None, tmp_path: Path) -> None:
    run(tmp_path / "whole", None, format="safetensors", pairs=PAIRS[:400])
    out = tmp_path / "out"
    with pytest.raises(RuntimeError, match="out of order"):
        write_encoded(Numbers(), Digits(raises=210), PAIRS[:400], out, shard_size=SHARD)
    assert len(list(out.glob("embeddings-*"))) == 4
    seen = tmp_path / "seen"
    seen.mkdir()
    run(out, partial(Digits, seen), format="safetensors", pairs=PAIRS[:400])
    assert content(out) == content(tmp_path / "whole")
    began = {int(path.name.split("-")[1]) for path in seen.iterdir()}
    assert began == {start + batch for start in range(200, 400, SHARD) for batch in (0, 32)}


def test_errors_are_those_of_the_local_loop(cluster: None, tmp_path: Path) -> None:
    told = []
    for engine in (None, RayEngine(partial(Digits, nan=77))):
        with pytest.raises(PairsError, match="sample 78") as caught:
            write_encoded(Numbers(), Digits(nan=77), PAIRS[:120], tmp_path / "out", shard_size=SHARD, engine=engine)
        told.append(str(caught.value))
        assert not (tmp_path / "out").exists()
    assert told[0] == told[1]


def test_a_sample_that_ends_every_worker_is_named(cluster: None, tmp_path: Path) -> None:
    engine = RayEngine(partial(Digits, dies=60), tries=2)
    with pytest.raises(SemiError, match="2 workers died of samples 51 to 100"):
        write_encoded(Numbers(), Digits(), PAIRS[:120], tmp_path / "out", shard_size=SHARD, engine=engine)


class Newer(Digits):
    id = "numbers/digits@2"


def test_another_version_of_the_encoder_is_refused(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="another version of the encoder"):
        run(tmp_path / "out", Newer, pairs=PAIRS[:120])
