"""One sample from input to labels and soft tokens: PyTorch and the ONNX runner, in turn, in one process.

    semi export my-imu --out my-robot
    python benchmarks/onnx_latency.py my-imu my-robot

On both sides the input is prepared already (evenly sampled, squared); PyTorch's path ends with `Memory.nearest`, as
the runner's does. Milliseconds; `--threads` for both.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semi.export.folder import load_runner
from semi.export.network import Network, embedding_network, network_of
from semi.integration import Parts, read_parts


def pytorch(parts: Parts, network: Network) -> Callable[[np.ndarray], object]:
    """What the runner does, in PyTorch."""

    @torch.inference_mode()
    def read(array: np.ndarray) -> object:
        rows = network.module(torch.from_numpy(array)).reshape(-1, parts.alignment.d_in)
        soft = parts.projector.soft(parts.alignment(rows[None]))[0].numpy()
        return parts.memory.nearest(rows.mean(0)), parts.memory.unlike(rows.mean(0)), soft

    return read


def example(network: Network, length: int) -> np.ndarray:
    """Noise of the right shape."""
    shape = [length if isinstance(n, str) else n for n in network.shape]
    draw = np.random.default_rng(0)
    if network.dtype == "uint8":
        return draw.integers(0, 256, shape, np.uint8)
    return draw.standard_normal(shape, np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("integration", type=Path)
    parser.add_argument("exported", type=Path)
    parser.add_argument("--length", type=int, default=200, help="of an axis of any length: 200 is 4 s at 50 Hz")
    parser.add_argument("--repeat", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    parts = read_parts(chosen.integration)
    runner = load_runner(chosen.exported).Runner(chosen.exported, threads=chosen.threads)
    embeddings = runner.shape[0] == "t"
    network = embedding_network(parts.alignment.d_in) if embeddings else network_of(parts.encoder)
    array = example(network, 1 if embeddings else chosen.length)
    paths: dict[str, Callable[[np.ndarray], object]] = {"pytorch": pytorch(parts, network), "onnx": runner.read}
    took: dict[str, list[float]] = {name: [] for name in paths}
    for round_ in range(chosen.repeat + 10):
        for name, read in paths.items():
            begun = time.perf_counter()
            read(array)
            if round_ >= 10:  # the first ones allocate
                took[name].append(1e3 * (time.perf_counter() - begun))
    figures: dict[str, Any] = {
        name: {"p50": np.median(values), "p99": np.percentile(values, 99), "max": max(values)}
        for name, values in took.items()
    }
    print(json.dumps({"encoder": parts.encoder.id, "threads": chosen.threads} | figures, indent=2, default=float))


if __name__ == "__main__":
    main()
