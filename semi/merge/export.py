"""One modality of a merge as a plain transformers folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from semi.artifacts import config_hash, open_output, read_json, require_free, write_json
from semi.artifacts.manifest import MANIFEST
from semi.errors import OutputError
from semi.merge.artifact import FILES, Artifact
from semi.merge.copying import copy_file
from semi.merge.origin import open_base, require_undamaged
from semi.merge.restore import extra_rows, restored_tensors
from semi.merge.writer import Source, in_shards, write_tensors

KIND = "export"
Advance = Callable[[int, int, str], None]
SHARD = 2 << 30
"""Bytes of the largest file."""

_CONFIG = "config.json"
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        folder: where.
        modality: whose.
        files: their names.
        tensors: how many.
        nbytes: of the tensors.
    """

    folder: Path
    modality: str
    files: tuple[str, ...]
    tensors: int
    nbytes: int


def export(
    artifact: Artifact,
    modality: str,
    out: str | Path,
    *,
    base: str | Path | None = None,
    shard: int = SHARD,
    force: bool = False,
    advance: Advance = lambda done, total, what: None,
) -> Exported:
    """Write theta^_i of a modality with its encoders and all files that its model came with.

    An adapter becomes a whole model, with the base's configuration.

    Args:
        artifact: the merge.
        modality: one of its models.
        out: the folder to write.
        base: the base's folder; None: where the merge found it.
        shard: bytes of the largest file of weights; a larger tensor has a file to itself.
        force: replace what is in `out`.
        advance: told the bytes that are done, how many there are, and what is being done.

    Raises:
        InputError: there is no such modality.
        ArtifactError: the merge is damaged, by sha256 of what the modality comes back from; the base is missing,
            damaged, or another one.
        OutputError: `out` is taken or cannot be written to, or the disk has too little room, which is told at once.
    """
    own = artifact.folder / FILES / modality
    files = {path.relative_to(own).as_posix(): path for path in artifact.files(modality)}
    require_free(out, force=force, kind=KIND)  # before gigabytes are hashed
    advance(0, 0, "Hashing")
    require_undamaged(artifact, artifact.files_of(modality))
    with open_base(artifact, base) as checkpoint:
        sources = restored_tensors(artifact, checkpoint, modality)
        files.pop(MANIFEST, None)  # of a model that semi exported: this one gets its own
        nbytes = sum(source.nbytes for source in sources)
        config = {"merge": config_hash(artifact.manifest["files"]), "modality": modality, "shard": shard}
        with open_output(out, kind=KIND, config=config, force=force) as folder:
            _require_room(folder.path, nbytes + sum(path.stat().st_size for path in files.values()))
            names = _write_files(folder.path, files, _vocabulary(artifact, modality))
            names += _write_shards(folder.path, sources, shard, _counted(advance, nbytes))
            folder.finish(names, config | {"merged": str(artifact.folder), "method": artifact.method})
    return Exported(Path(out), modality, tuple(names), len(sources), nbytes)


def _vocabulary(artifact: Artifact, modality: str) -> int | None:
    """Tokens of an adapter that has more than the base, whose config.json it gets; otherwise None."""
    if artifact.models[modality].adapter == "none":
        return None
    own = ((entry, extra_rows(artifact, modality, entry.key)) for entry in artifact.of("rows"))
    return max((entry.shape[0] + len(rows) for entry, rows in own if rows is not None), default=None)


def _write_files(folder: Path, files: Mapping[str, Path], vocabulary: int | None) -> list[str]:
    for name, path in files.items():
        if name == _CONFIG and vocabulary is not None:
            write_json(folder / name, read_json(path) | {"vocab_size": vocabulary})
        else:
            copy_file(path, folder / name)
    return sorted(files)


def _write_shards(
    folder: Path, sources: Sequence[Source], shard: int, counted: Callable[[Source], Source]
) -> list[str]:
    """The files of weights, and their index if there are several; all names."""
    shards = in_shards(sources, shard)
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = ["model.safetensors"]
    for name, part in zip(names, shards, strict=True):
        write_tensors(folder / name, [counted(source) for source in part])
    if len(shards) == 1:
        return names
    of_tensors = {source.name: name for name, part in zip(names, shards, strict=True) for source in part}
    total = {"total_size": sum(source.nbytes for source in sources)}
    write_json(folder / _INDEX, {"metadata": total, "weight_map": of_tensors})
    return [*names, _INDEX]


def _counted(advance: Advance, total: int) -> Callable[[Source], Source]:
    """Makes sources tell how far the writing is."""
    done = 0

    def counted(source: Source) -> Source:
        def pieces() -> Iterator[bytes]:
            nonlocal done
            for piece in source.pieces():
                yield piece
                done += len(piece)
                advance(done, total, "Writing")

        return replace(source, pieces=pieces)

    return counted


def _require_room(folder: Path, needed: int) -> None:
    if (free := shutil.disk_usage(folder).free) < needed:
        raise OutputError(
            f"{folder} has too little room for the model",
            got=f"{free:,} free bytes",
            expected=f"{needed:,} bytes",
            do="free some space, or name a folder on another disk",
        )
