"""Nearest labels and soft tokens of samples, from a folder that `semi export` wrote.

Needs numpy and onnxruntime and nothing else, and runs on Python 3.10 and later:

    from runner import Runner
    Runner("folder").read(sample)  # {"labels": [["walking", 0.4], ...], "unlike": False, "soft_tokens": (t, d_lm)}

    python runner.py folder sample.npy
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


class Runner:
    """Encoder, alignment and projector of an integration, and the labels that it was made from.

    Args:
        folder: with model.onnx, labels.json and manifest.json.
        providers: of ONNX Runtime, the first that works is used; by default the CPU.
        threads: for one sample.
        verify: compare the files with the manifest first.

    Raises:
        ValueError: the folder is incomplete, or a file was changed.
    """

    def __init__(
        self, folder: str | Path, *, providers: list[str] | None = None, threads: int = 1, verify: bool = True
    ) -> None:
        folder = Path(folder)
        if verify:
            _verify(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=providers or ["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0]
        self.shape: list[int | str] = self._input.shape
        """Of a sample; a name stands for an axis of any length."""
        self.dtype = np.dtype({"tensor(float)": np.float32, "tensor(uint8)": np.uint8}[self._input.type])
        self.meaning: str = self._session.get_modelmeta().custom_metadata_map["input"]
        """What a sample holds, with units."""
        table = json.loads((folder / "labels.json").read_text("utf-8"))
        self.labels: list[str] = table["labels"]
        self._support = np.array(table["embeddings"], np.float32).astype(np.float64)  # (k, d_enc)
        self._spacing = float(table["spacing"])
        self._margin = float("inf") if table["margin"] is None else float(table["margin"])

    def read(self, sample: Any, nearest: int = 3) -> dict[str, Any]:
        """What the integration makes of one sample.

        Args:
            sample: an array of `shape` and `dtype`, which holds what `meaning` says.
            nearest: how many labels.

        Returns:
            "labels": the nearest distinct ones, each with its distance in units of the support's usual spacing;
            "unlike": whether the sample lies outside of what they cover;
            "soft_tokens": (t, d_lm) float32, for the language model's input embeddings.

        Raises:
            ValueError: the sample has another shape or type, or holds NaN or infinity.
        """
        embedding, soft_tokens = self._session.run(
            ["embedding", "soft_tokens"], {self._input.name: self._ready(sample)}
        )
        distances = np.linalg.norm(self._support - embedding.astype(np.float64), axis=1) / self._spacing
        found: dict[str, float] = {}
        for i in distances.argsort(kind="stable"):
            found.setdefault(self.labels[i], round(float(distances[i]), 4))
            if len(found) == nearest:
                break
        return {
            "labels": [[label, distance] for label, distance in found.items()],
            "unlike": bool(distances.min() > self._margin),
            "soft_tokens": soft_tokens,
        }

    def _ready(self, sample: Any) -> np.ndarray:
        array = np.asarray(sample)
        if self.shape[0] == "t" and array.ndim == 1:
            array = array[None]  # one embedding, where a sample may have several
        fits = array.ndim == len(self.shape) and all(
            isinstance(n, str) or n == m for n, m in zip(self.shape, array.shape, strict=True)
        )
        is_kind = array.dtype == np.uint8 if self.dtype == np.uint8 else array.dtype.kind in "fiu"
        if not fits or 0 in array.shape or not is_kind:
            raise ValueError(
                f"a sample must be {self.meaning}: {self.dtype} {_shown(self.shape)}, "
                f"got {array.dtype} {_shown(array.shape)}"
            )
        with np.errstate(over="ignore"):  # becomes infinity
            array = np.ascontiguousarray(array, self.dtype)
        if not np.isfinite(array).all():
            raise ValueError("the sample holds NaN or infinity")
        return array


def _array(file: str) -> np.ndarray:
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise ValueError(
            f"{file} cannot be read: {why or 'it is no .npy file of numbers'}; write it by numpy.save"
        ) from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{file} holds several arrays; write one of them by numpy.save")
    return array


def _verify(folder: Path) -> None:
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise ValueError(f"{folder} is incomplete: it has no manifest.json; export it again")
    described = json.loads(manifest.read_text("utf-8"))
    if described.get("kind") != "onnx":
        raise ValueError(f"{folder} is of kind {described.get('kind')!r}; name a folder that `semi export` wrote")
    for name, entry in described["files"].items():
        if not (folder / name).is_file() or _sha256(folder / name) != entry["sha256"]:
            raise ValueError(f"{folder / name} is missing or was changed; export the folder again")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _shown(shape: Any) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def _milliseconds(runner: Runner, sample: Any, repeat: int) -> dict[str, float]:
    took = []
    for _ in range(repeat):
        begun = time.perf_counter()
        runner.read(sample)
        took.append(1e3 * (time.perf_counter() - begun))
    return {"p50": float(np.median(took)), "p99": float(np.percentile(took, 99)), "max": max(took)}


def main(arguments: list[str] | None = None) -> int:
    """The command line: a JSON object on stdout for a sample in a .npy file."""
    parser = argparse.ArgumentParser(description="Nearest labels and soft tokens of a sample.")
    parser.add_argument("folder", help="what `semi export` wrote")
    parser.add_argument("sample", help="a .npy file")
    parser.add_argument("--nearest", type=int, default=3, help="how many labels")
    parser.add_argument("--soft-tokens", metavar="FILE", help="write the soft tokens to this .npy file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--repeat", type=int, default=0, metavar="N", help="also read it N times and say how long it takes"
    )
    chosen = parser.parse_args(arguments)
    try:
        runner = Runner(chosen.folder, threads=chosen.threads)
        sample = _array(chosen.sample)
        found = runner.read(sample, chosen.nearest)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    soft_tokens = found["soft_tokens"]
    if chosen.soft_tokens:
        np.save(chosen.soft_tokens, soft_tokens)
    found["soft_tokens"] = list(soft_tokens.shape)
    if chosen.repeat > 0:
        found["milliseconds"] = _milliseconds(runner, sample, chosen.repeat)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
