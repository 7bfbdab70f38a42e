"""`semi encode`: engines and formats by their options."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from semi.encoding import load_encoded

Semi = Callable[..., Result]


def test_shards_in_parquet(semi: Semi, pairs_file: Callable[..., Path], work: Path) -> None:
    pytest.importorskip("pyarrow")
    pairs = pairs_file(12)
    done = semi("encode", "vectors", pairs, "--out", "out", "--format", "parquet", "--shard-size", 5)
    assert done.exit_code == 0, done.output
    assert done.stdout == "out: 12 x 10 embeddings\n"
    assert len(list((work / "out").glob("*.parquet"))) == 3
    semi("encode", "vectors", pairs, "--out", "plain")
    assert (load_encoded("out").embeddings == load_encoded("plain").embeddings).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--workers", 2), ("--workers is of --engine ray",)),
        (("--engine", "spark"), ("spark", "ray")),
        (("--format", "csv"), ("csv", "parquet")),
        (("--shard-size", 0), ("--shard-size",)),
    ],
    ids=["workers", "engine", "format", "shard size"],
)
def test_options_that_do_not_fit_are_refused(
    options: tuple[object, ...], says: tuple[str, ...], refused: Callable[..., str], pairs_file: Callable[..., Path]
) -> None:
    refused("encode", "vectors", pairs_file(4), "--out", "out", *options, says=says)


def test_without_its_package_an_engine_or_format_is_refused(
    refused: Callable[..., str], pairs_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("ray", "ray.data", "pyarrow"):
        monkeypatch.setitem(sys.modules, module, None)
    pairs = pairs_file(4)
    refused("encode", "vectors", pairs, "--out", "out", "--engine", "ray", says=("semi-llm[ray]",))
    refused("encode", "vectors", pairs, "--out", "out", "--format", "parquet", says=("semi-llm[parquet]",))
