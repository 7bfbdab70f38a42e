"""`semi encode` with Ray Data beside the local loop: samples a second, and whether both wrote the same bytes.

python -m benchmarks.encode_ray --samples 20000 --workers 2 --out benchmarks/results/encode-ray.json
python -m benchmarks.encode_ray --quick

OMP_NUM_THREADS=1 gives each worker a core. Seconds are of encoding and writing, with Ray's start and end and the
loading of encoders in the workers; `start` is how long Ray takes for a single sample.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from semi.encoding import Engine, write_encoded
from semi.encoding.on_ray import RayEngine
from semi.modality import Encoder
from semi.pairs import Pair
from semi.pairs_io import read_pairs
from semi.plugins import load_modality


def load(modality: str, encoder: str | None) -> Encoder:
    """In a worker."""
    return load_modality(modality).encoder(encoder)


def measure(modality: str, encoder: str | None, pairs: list[Pair], workers: int, shard_size: int) -> dict[str, Any]:
    """Both engines on the same pairs, each into a folder of its own."""
    kind, loaded = load_modality(modality), load(modality, encoder)
    loaded.encode([pairs[0].sample])  # what is loaded at first use
    ray = RayEngine(partial(load, modality, encoder), workers=workers)

    def seconds(engine: Engine | None, chosen: list[Pair], folder: Path) -> float:
        begun = time.perf_counter()
        write_encoded(kind, loaded, chosen, folder, format="parquet", shard_size=shard_size, engine=engine)
        return time.perf_counter() - begun

    with TemporaryDirectory() as place:
        folders = {name: Path(place) / name for name in ("local", "ray", "start")}
        took = {"local": seconds(None, pairs, folders["local"]), "ray": seconds(ray, pairs, folders["ray"])}
        start = seconds(ray, pairs[:1], folders["start"])
        contents = [{p.name: p.read_bytes() for p in folders[name].iterdir()} for name in took]
    return {
        "encoder": loaded.id,
        "samples": len(pairs),
        "workers": workers,
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "shard_size": shard_size,
        "cores": os.cpu_count(),
        "seconds": {name: round(value, 2) for name, value in took.items()} | {"start": round(start, 2)},
        "samples_per_second": {name: round(len(pairs) / value, 1) for name, value in took.items()},
        "same_bytes": contents[0] == contents[1],
    }


def main() -> None:
    """Print the measurement, and write it where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modality", default="text")
    parser.add_argument("--data", default="wordnet")
    parser.add_argument("--encoder")
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard-size", type=int, default=512)
    parser.add_argument("--quick", action="store_true", help="2,000 vectors, which need no encoder")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    if chosen.quick:
        vectors = np.random.default_rng(0).standard_normal((2000, 32)).astype(np.float32)
        pairs, chosen.modality, chosen.shard_size = [Pair(row, "a vector") for row in vectors], "vectors", 50
    else:
        pairs = read_pairs(chosen.data, modality=load_modality(chosen.modality)).pairs[: chosen.samples]
    found = measure(chosen.modality, chosen.encoder, pairs, chosen.workers, chosen.shard_size)
    text = json.dumps(found, indent=2)
    print(text)
    if chosen.out:
        chosen.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
