"""The two forms of an encoded folder's shards: safetensors beside one file of pairs, or Parquet that holds both."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from semi.artifacts import load_tensors, save_tensors, write_bytes
from semi.errors import ArtifactError, InputError
from semi.pairs import Pair
from semi.pairs_io import pairs_sha256, write_pairs
from semi.pairs_io.writing import pair_line

if TYPE_CHECKING:
    import numpy as np

# Longer samples (pictures, recordings) would make the folder larger than what they were read from.
_INLINE = 4096
_EMBEDDINGS = "embeddings"


class Format(Protocol):
    """How shards and pairs are kept."""

    name: ClassVar[str]
    suffix: ClassVar[str]
    beside: ClassVar[tuple[str, ...]]
    """Files of the folder that are no shards."""

    def begin(self, folder: Path, pairs: Sequence[Pair]) -> None:
        """Write what stands beside the shards."""
        ...

    def write(self, path: Path, embeddings: np.ndarray, pairs: Sequence[Pair]) -> None:
        """Write a shard, atomically: the same content gives the same bytes."""
        ...

    def embeddings(self, path: Path) -> np.ndarray:
        """A shard's embeddings, float32, finite; ArtifactError where it is damaged."""
        ...

    def pairs(self, folder: Path, shards: Sequence[str]) -> list[Pair]:
        """All pairs of a folder."""
        ...


class Safetensors:
    """Shards of one tensor each, and pairs.jsonl."""

    name: ClassVar[str] = "safetensors"
    suffix: ClassVar[str] = ".safetensors"
    beside: ClassVar[tuple[str, ...]] = ("pairs.jsonl",)

    def begin(self, folder: Path, pairs: Sequence[Pair]) -> None:
        """See `Format`."""
        write_pairs(folder / self.beside[0], [_inline(pair) for pair in pairs])

    def write(self, path: Path, embeddings: np.ndarray, pairs: Sequence[Pair]) -> None:
        """See `Format`."""
        import torch

        save_tensors(path, {_EMBEDDINGS: torch.from_numpy(embeddings)})

    def embeddings(self, path: Path) -> np.ndarray:
        """See `Format`."""
        tensors = load_tensors(path)
        if set(tensors) != {_EMBEDDINGS}:
            raise _not_a_shard(path, got=sorted(tensors), expected=f"one tensor, {_EMBEDDINGS!r}")
        found: np.ndarray = tensors[_EMBEDDINGS].numpy()
        return found

    def pairs(self, folder: Path, shards: Sequence[str]) -> list[Pair]:
        """See `Format`."""
        lines = (folder / self.beside[0]).read_text(encoding="utf-8").split("\n")
        return [Pair(**json.loads(line)) for line in lines if line]


class Parquet:
    """Shards with a row a pair: sample and attributes as JSON, caption, instruction, embedding as a fixed-shape tensor.

    The embedding's column is Arrow's canonical extension type; readers that do not know it see a list of floats.
    """

    name: ClassVar[str] = "parquet"
    suffix: ClassVar[str] = ".parquet"
    beside: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise InputError(
                "shards in Parquet need the package pyarrow, which is not installed",
                do="pip install 'semi-llm[parquet]'",
            ) from error
        self._arrow, self._parquet = pyarrow, pyarrow.parquet

    def begin(self, folder: Path, pairs: Sequence[Pair]) -> None:
        """See `Format`."""

    def write(self, path: Path, embeddings: np.ndarray, pairs: Sequence[Pair]) -> None:
        """See `Format`."""
        arrow, shape = self._arrow, embeddings.shape[1:]
        place = path.parent.absolute()
        rows = [json.loads(pair_line(_inline(pair), i, place)) for i, pair in enumerate(pairs, start=1)]
        flat = arrow.FixedSizeListArray.from_arrays(arrow.array(embeddings.reshape(-1)), embeddings[0].size)
        columns = {
            "sample": arrow.array([_json(row["sample"]) for row in rows], arrow.string()),
            "caption": arrow.array([row["caption"] for row in rows], arrow.string()),
            "instruction": arrow.array([row.get("instruction") for row in rows], arrow.string()),
            "attributes": arrow.array([_json(row.get("attributes", {})) for row in rows], arrow.string()),
            "embedding": arrow.ExtensionArray.from_storage(arrow.fixed_shape_tensor(arrow.float32(), shape), flat),
        }
        data = io.BytesIO()
        # Floats hardly compress, and a codec is one thing more that could differ between two machines.
        self._parquet.write_table(arrow.table(columns), data, compression="none")
        write_bytes(path, data.getvalue())

    def embeddings(self, path: Path) -> np.ndarray:
        """See `Format`."""
        import numpy as np

        column = self._read(path, ["embedding"])["embedding"].combine_chunks()
        if not isinstance(column.type, self._arrow.FixedShapeTensorType) or column.null_count:
            raise _not_a_shard(path, got=column.type, expected="tensors of one shape")
        found: np.ndarray = column.to_numpy_ndarray()
        if found.dtype != np.float32 or not np.isfinite(found).all():
            raise _not_a_shard(path, got=f"{found.dtype}, or NaN or infinity", expected="finite numbers in float32")
        return found

    def pairs(self, folder: Path, shards: Sequence[str]) -> list[Pair]:
        """See `Format`."""
        found = []
        for name in shards:
            for row in self._read(folder / name, ["sample", "caption", "instruction", "attributes"]).to_pylist():
                sample, attributes = json.loads(row["sample"]), json.loads(row["attributes"])
                found.append(Pair(sample, row["caption"], row["instruction"], attributes))
        return found

    def _read(self, path: Path, columns: list[str]) -> Any:
        try:
            table = self._parquet.read_table(path, columns=columns)
        except (OSError, ValueError) as error:  # pyarrow's errors are among these
            raise _not_a_shard(path, got=(str(error) or type(error).__name__).splitlines()[0]) from error
        if table.column_names != columns:
            raise _not_a_shard(path, got=table.column_names, expected=columns)
        return table


FORMATS: dict[str, type[Safetensors] | type[Parquet]] = {"safetensors": Safetensors, "parquet": Parquet}


def _inline(pair: Pair) -> Pair:
    size = getattr(pair.sample, "size", 0)
    if isinstance(pair.sample, bytes) or (isinstance(size, int) and size > _INLINE):
        return replace(pair, sample=f"sha256:{pairs_sha256([Pair(pair.sample, '')])}")
    return pair


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _not_a_shard(path: Path, *, got: object, expected: object = "a shard that semi wrote") -> ArtifactError:
    return ArtifactError(f"{path} is no shard of embeddings", got=got, expected=expected, do="encode the pairs again")
