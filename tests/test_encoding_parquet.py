"""Shards in Parquet: the same embeddings and pairs as in safetensors, to semi and to anybody's reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semi.artifacts import sha256_of
from semi.encoding import encode, load_encoded
from semi.errors import ArtifactError, InputError
from semi.pairs import Pair
from semi.vectors import Vectors

parquet = pytest.importorskip("pyarrow.parquet")


class Tokens:
    """The vector, t times."""

    id, width = "tokens@1", 3

    def __init__(self, t: int) -> None:
        self.t = t

    def encode(self, samples: Any) -> np.ndarray:
        rows = np.array(samples, np.float32)
        return np.stack([rows + i for i in range(self.t)], axis=1) if self.t else rows


texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)
drawn = st.builds(
    Pair,
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3),
    texts,
    st.none() | texts,
    st.dictionaries(texts, texts, max_size=2),
)


@settings(max_examples=25)
@given(pairs=st.lists(drawn, min_size=1, max_size=9), t=st.integers(0, 2), shard_size=st.integers(1, 4))
def test_both_formats_hold_the_same(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair], t: int, shard_size: int
) -> None:
    folder = tmp_path_factory.mktemp("encoded")
    found = [
        encode(Vectors(), Tokens(t), pairs, folder / format, shard_size=shard_size, format=format)
        for format in ("safetensors", "parquet")
    ]
    np.testing.assert_array_equal(found[0].embeddings, found[1].embeddings)
    assert found[0].embeddings.shape == ((len(pairs), t, 3) if t else (len(pairs), 3))
    assert found[0].pairs == found[1].pairs


PAIRS = [Pair([float(i), 0.5, -1.0], f"number {i}", "Which?" if i % 2 else None, {"i": str(i)}) for i in range(8)]


def test_any_reader_sees_rows(tmp_path: Path) -> None:
    encode(Vectors(), Tokens(0), PAIRS, tmp_path / "out", shard_size=5, format="parquet")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "embeddings-00000.parquet",
        "embeddings-00001.parquet",
        "manifest.json",
    }
    rows = parquet.read_table(tmp_path / "out" / "embeddings-00001.parquet").to_pylist()
    assert rows[0] == {
        "sample": "[5.0, 0.5, -1.0]",
        "caption": "number 5",
        "instruction": "Which?",
        "attributes": '{"i": "5"}',
        "embedding": [5.0, 0.5, -1.0],
    }


def test_a_damaged_shard_is_computed_again(tmp_path: Path) -> None:
    encode(Vectors(), Tokens(0), PAIRS, tmp_path / "whole", shard_size=3, format="parquet")

    class Failing(Tokens):
        def encode(self, samples: Any) -> np.ndarray:
            if 6.0 in np.array(samples):
                raise RuntimeError
            return super().encode(samples)

    with pytest.raises(RuntimeError):
        encode(Vectors(), Failing(0), PAIRS, tmp_path / "out", shard_size=3, format="parquet")
    shard = tmp_path / "out" / "embeddings-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-9])
    encode(Vectors(), Tokens(0), PAIRS, tmp_path / "out", shard_size=3, format="parquet")
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_another_table_is_no_shard(tmp_path: Path) -> None:
    import pyarrow

    out = tmp_path / "out"
    encode(Vectors(), Tokens(0), PAIRS, out, format="parquet")
    shard, manifest = out / "embeddings-00000.parquet", json.loads((out / "manifest.json").read_text())
    for columns in ({"other": [1]}, {"embedding": [[1.0, 2.0, 3.0]]}):
        parquet.write_table(pyarrow.table(columns), shard)
        manifest["files"][shard.name] = {"bytes": shard.stat().st_size, "sha256": sha256_of(shard)}
        (out / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ArtifactError, match="no shard of embeddings"):
            load_encoded(out)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown format"):
        encode(Vectors(), Tokens(0), PAIRS, tmp_path / "out", format="csv")
    assert not (tmp_path / "out").exists()
