from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semi.encoding import embed, encode, load_encoded
from semi.errors import ArtifactError, InputError, OutputError, PairsError, PluginError
from semi.modality import Encoder, Modality
from semi.pairs import Pair
from semi.vectors import Vectors


class Lengths(Modality):
    """Text, embedded as powers of its length."""

    name = "lengths"
    instruction = "Describe this."

    def encoder(self, name: str | None = None) -> Encoder:
        return LengthEncoder()


class LengthEncoder:
    id = "lengths/powers@1"
    width = 3

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        self.seen += samples
        return np.array([[len(sample) ** power for power in range(3)] for sample in samples], np.float32)


PAIRS = [Pair("x" * number, f"{number} letters", attributes={"n": str(number)}) for number in range(1, 8)]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run(out: Path, encoder: Any = None, pairs: Sequence[Pair] = PAIRS, **options: Any) -> Any:
    return encode(Lengths(), encoder or LengthEncoder(), pairs, out, **{"shard_size": 3, **options})


def test_what_was_encoded_is_loaded(tmp_path: Path) -> None:
    made = run(tmp_path / "out", options={"radius": 2})
    for found in (made, load_encoded(tmp_path / "out")):
        assert found.embeddings.dtype == np.float32
        np.testing.assert_array_equal(found.embeddings[:, 1], range(1, 8))
        assert found.pairs == PAIRS
        assert found.encoder_id == "lengths/powers@1"
        assert found.manifest["info"]["options"] == {"radius": 2}
        assert found.manifest["info"]["shape"] == [7, 3]
    shards = {f"embeddings-0000{number}.safetensors" for number in range(3)}
    assert set(content(tmp_path / "out")) == {*shards, "pairs.jsonl", "manifest.json"}


def test_every_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run(tmp_path / "a")
    run(tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    run(tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 7), (6, 7), (7, 7)]


class Failing(LengthEncoder):
    """Fails, as a broken machine would, at its second shard."""

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        if "xxxx" in samples:
            raise RuntimeError
        return super().encode(samples)


def test_only_missing_or_damaged_shards_are_computed_again(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    with pytest.raises(RuntimeError):
        run(tmp_path / "out", Failing())
    with pytest.raises(ArtifactError, match="incomplete"):
        load_encoded(tmp_path / "out")
    encoder = LengthEncoder()
    run(tmp_path / "out", encoder)
    assert encoder.seen == [pair.sample for pair in PAIRS[3:]]
    assert content(tmp_path / "out") == content(tmp_path / "whole")

    with pytest.raises(RuntimeError):
        run(tmp_path / "torn", Failing())
    shard = tmp_path / "torn/embeddings-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    run(tmp_path / "torn")
    assert content(tmp_path / "torn") == content(tmp_path / "whole")


class Other(LengthEncoder):
    id = "lengths/powers@2"


@pytest.mark.parametrize(
    "change",
    [{"encoder": Other()}, {"pairs": PAIRS[:6]}, {"options": {"radius": 3}}, {"shard_size": 2}],
    ids=["encoder", "pairs", "options", "shard size"],
)
def test_an_interrupted_run_with_other_inputs_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path / "out", Failing())
    before = content(tmp_path / "out")
    with pytest.raises(OutputError, match="other inputs or settings"):
        run(tmp_path / "out", **change)
    assert content(tmp_path / "out") == before
    run(tmp_path / "out", **change, force=True)
    run(tmp_path / "fresh", **change)
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


def test_a_complete_folder_needs_force(tmp_path: Path) -> None:
    run(tmp_path / "out")
    with pytest.raises(OutputError, match="complete already"):
        run(tmp_path / "out")
    run(tmp_path / "out", force=True)


class Tokens(LengthEncoder):
    """t = 2 tokens a sample."""

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        return np.stack([super().encode(samples)] * 2, axis=1)


def test_several_tokens_a_sample(tmp_path: Path) -> None:
    assert run(tmp_path / "out", Tokens()).embeddings.shape == (7, 2, 3)


class Broken(LengthEncoder):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        embeddings = super().encode(samples).astype(np.float64)
        embeddings[[sample == "xxxxx" for sample in samples], 1] = self.value
        return embeddings


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_sample_whose_embedding_is_not_finite_is_named(tmp_path: Path, value: float) -> None:
    with pytest.raises(PairsError, match="embedding of sample 5 holds NaN or infinity") as caught:
        run(tmp_path / "out", Broken(value))
    assert "sample xxxxx" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_file_is_named_by_its_path(tmp_path: Path) -> None:
    class NoNumber(LengthEncoder):
        def encode(self, samples: Sequence[str]) -> np.ndarray:
            return np.full((len(samples), 3), np.nan)

    with pytest.raises(PairsError) as caught:
        embed(NoNumber(), [tmp_path / "a.png"])
    assert caught.value.got == f"sample {tmp_path / 'a.png'}"


class Misshapen(LengthEncoder):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        return np.zeros(self.shape)


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (3,), (3, 1, 1, 3)])
def test_an_encoder_that_breaks_its_promise_is_named(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(PluginError, match="lengths/powers@1 returned embeddings of another shape"):
        run(tmp_path / "out", Misshapen(*shape))
    assert not (tmp_path / "out").exists()


class Ragged(LengthEncoder):
    def encode(self, samples: Sequence[str]) -> np.ndarray:
        return np.zeros((len(samples), len(samples), 3))


def test_embeddings_of_several_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="several shapes"):
        run(tmp_path / "out", Ragged())
    assert not (tmp_path / "out").exists()


def test_nothing_to_encode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PairsError, match="nothing to encode"):
        run(tmp_path / "out", pairs=[])
    assert not (tmp_path / "out").exists()


def test_vectors_keep_short_samples_and_name_long_ones(tmp_path: Path) -> None:
    kind = Vectors()
    short, long = np.arange(3, dtype=np.float32), np.zeros(5000, np.float32)
    made = encode(kind, kind.encoder(), [Pair(short, "s")], tmp_path / "short")
    assert made.pairs[0].sample == [0, 1, 2]
    made = encode(kind, kind.encoder(), [Pair(long, "l")], tmp_path / "long")
    assert made.pairs[0].sample.startswith("sha256:")
    with pytest.raises(InputError, match="width"):
        encode(kind, kind.encoder(), [Pair(short, "s"), Pair(long, "l")], tmp_path / "both")
    assert not (tmp_path / "both").exists()


@pytest.mark.parametrize("name", ["pairs.jsonl", "embeddings-00001.safetensors"])
def test_a_changed_folder_is_refused(tmp_path: Path, name: str) -> None:
    run(tmp_path / "out")
    with open(tmp_path / "out" / name, "ab") as file:
        file.write(b" ")
    with pytest.raises(ArtifactError, match=name):
        load_encoded(tmp_path / "out")


class Slow(LengthEncoder):
    def encode(self, samples: Sequence[str]) -> np.ndarray:
        time.sleep(0.005)
        return super().encode(samples)


def encode_slowly(out: Path) -> None:
    run(out, Slow(), [Pair("x" * (1 + number % 9), str(number)) for number in range(200)], shard_size=2)


def kill_again_and_again(out: Path, moments: list[float]) -> None:
    """Print how many shards there are after each kill -9, and whether the folder was refused."""
    import safetensors.torch  # noqa: F401  # takes longer than the work: let it be over before the forks

    for moment in moments:
        child = os.fork()
        if child == 0:
            encode_slowly(out)
            os._exit(0)
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        with pytest.raises(ArtifactError):
            load_encoded(out)
        print(len(list(out.glob("embeddings-*.safetensors"))) if killed else "not killed")


KILL = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_encoding
test_encoding.kill_again_and_again(Path(sys.argv[2]), [float(moment) for moment in sys.argv[3:]])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no kill -9")
def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path / "warm")  # imports torch, whose seconds must not count
    started = time.monotonic()
    encode_slowly(tmp_path / "whole")
    needed = time.monotonic() - started
    moments = [str(random.Random(seed).uniform(0.02, 0.2) * needed) for seed in range(5)]
    # In a process of its own: this one has threads, which do not survive a fork.
    killer = [sys.executable, "-c", KILL, str(Path(__file__).parent), str(tmp_path / "out"), *moments]
    shards = [
        int(line) for line in subprocess.run(killer, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    ]
    assert len(shards) == 5
    assert shards == sorted(shards)
    assert 0 < shards[-1] < 100  # else nothing was resumed
    encode_slowly(tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
