"""A folder of embeddings: shards, the pairs they belong to, and a manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semi.artifacts import open_output, read_manifest, rebuilding
from semi.encoding.engine import Engine, LocalEngine, Shard
from semi.encoding.formats import FORMATS, Format
from semi.errors import ArtifactError, InputError, PairsError, SemiError
from semi.modality import Encoder, Modality
from semi.pairs import Pair
from semi.pairs_io import pairs_sha256

if TYPE_CHECKING:
    import numpy as np

KIND = "embeddings"


@dataclass(frozen=True)
class EncodedSet:
    """Embeddings of a modality's samples and the pairs they belong to, in the same order."""

    embeddings: np.ndarray
    """(n, d_enc) or (n, t, d_enc), float32, finite."""
    pairs: list[Pair]
    """Samples as JSON holds them; one longer than 4096 numbers is "sha256:..." instead."""
    encoder_id: str
    manifest: dict[str, Any]


def encode(
    modality: Modality,
    encoder: Encoder,
    pairs: Sequence[Pair],
    out: str | Path,
    **options: Any,
) -> EncodedSet:
    """Embed the samples of n pairs, keep them in a folder and load it. Arguments and errors as of `write_encoded`."""
    write_encoded(modality, encoder, pairs, out, **options)
    return load_encoded(out)


def write_encoded(
    modality: Modality,
    encoder: Encoder,
    pairs: Sequence[Pair],
    out: str | Path,
    *,
    shard_size: int = 512,
    format: str = "safetensors",
    engine: Engine | None = None,
    force: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, ...]:
    """Embed the samples of n pairs and keep them in a folder.

    A killed run resumes with the shards that are missing, with any engine; the folder is then byte for byte that of an
    undisturbed run. No more than a few shards are in memory at once.

    Args:
        modality: what the samples are.
        encoder: one of its encoders.
        pairs: the pairs, samples parsed.
        out: the folder; `semi.artifacts.open_output` says when it is refused.
        shard_size: samples a file, which is also how many are computed again at most after a kill.
        format: "safetensors", or "parquet" with the pairs in the shards.
        engine: what computes the embeddings; None: this process.
        force: start afresh over what semi made there.
        options: JSON-able settings that the embeddings depend on beyond the encoder's id; kept in the manifest.
        progress: called with (samples done, n).

    Returns:
        The shape of all embeddings, (n, d_enc) or (n, t, d_enc).

    Raises:
        PairsError: there are no pairs, or an embedding holds NaN or infinity (the sample is named).
        PluginError: the encoder returned another shape than it promised.
        InputError: the format is unknown, or lacks a package.
        OutputError: the folder is refused or cannot be written.
        SemiError: the engine failed.
    """
    if not pairs:
        raise PairsError("there is nothing to encode", got="no pairs")
    form = _format(format)
    info: dict[str, Any] = {
        "modality": modality.name,
        "encoder": encoder.id,
        "options": dict(options or {}),
        "pairs_sha256": pairs_sha256(pairs),
        "n": len(pairs),
        "shard_size": shard_size,
    }
    if form.name != "safetensors":  # folders of which are as they were before there was another format
        info["format"] = form.name
    starts = range(0, len(pairs), shard_size)
    shards = [Shard(i, start, pairs[start : start + shard_size]) for i, start in enumerate(starts)]
    with open_output(out, kind=KIND, config=info, force=force) as output:
        form.begin(output.path, pairs)
        paths = [output.path / f"embeddings-{shard.index:05d}{form.suffix}" for shard in shards]
        shapes = {shard.index: _shape(form, paths[shard.index], shard) for shard in shards}
        todo = [shard for shard in shards if shapes[shard.index] is None]
        done = len(pairs) - sum(len(shard.pairs) for shard in todo)

        def advance(samples: int) -> None:
            nonlocal done
            done += samples
            if progress:
                progress(done, len(pairs))

        if done:
            advance(0)
        for shard, embeddings in (engine or LocalEngine()).run(encoder, todo, advance):
            form.write(paths[shard.index], embeddings, shard.pairs)
            shapes[shard.index] = embeddings.shape[1:]
        shape = _one_shape(output.path, shapes)
        files = [*(path.name for path in paths), *form.beside]
        output.finish(files, {**info, "shape": [len(pairs), *shape], "width": shape[-1]})
    return (len(pairs), *shape)


def load_encoded(folder: str | Path) -> EncodedSet:
    """The complete folder that `encode` wrote.

    Raises:
        ArtifactError: the folder is missing, incomplete, changed, or holds something else.
        InputError: its format lacks a package.
    """
    import numpy as np

    folder = Path(folder)
    manifest = read_manifest(folder, KIND)
    with rebuilding(folder / "manifest.json", "set of embeddings"):
        format, encoder_id = manifest["info"].get("format", "safetensors"), str(manifest["info"]["encoder"])
    form = _format(format)
    # By length first: shard 100000 comes after 99999.
    names = sorted((name for name in manifest["files"] if name not in form.beside), key=lambda name: (len(name), name))
    parts = [form.embeddings(folder / name) for name in names]
    _one_shape(folder, {i: part.shape[1:] for i, part in enumerate(parts)})
    embeddings, pairs = np.concatenate(parts), form.pairs(folder, names)
    if len(pairs) != len(embeddings):
        raise ArtifactError(
            f"{folder} is inconsistent",
            got=f"{len(embeddings)} embeddings, {len(pairs)} pairs",
            expected="one embedding a pair",
            do="encode the pairs again",
        )
    return EncodedSet(embeddings, pairs, encoder_id, manifest)


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise InputError("unknown format of embeddings", got=name, expected=" or ".join(FORMATS))
    return FORMATS[name]()


def _shape(form: Format, path: Path, shard: Shard) -> tuple[int, ...] | None:
    """What each sample of a shard gave that is there and whole; None: it has to be computed."""
    try:
        found = form.embeddings(path) if path.exists() else None
    except ArtifactError:
        return None
    return None if found is None or len(found) != len(shard.pairs) else found.shape[1:]


def _one_shape(folder: Path, shapes: Mapping[int, tuple[int, ...] | None]) -> tuple[int, ...]:
    if missing := [index for index, shape in shapes.items() if shape is None]:
        raise SemiError(f"shards of {folder} were not computed", got=missing, do="run the same command again")
    distinct = sorted({shape for shape in shapes.values() if shape is not None})
    if len(distinct) != 1:
        raise ArtifactError(
            f"{folder} holds embeddings of several shapes",
            got=", ".join(map(str, distinct)) or "none",
            expected="one shape for all samples",
            do="use samples and an encoder that give embeddings of one shape",
        )
    return distinct[0]
