"""The manifest of a saved folder: written last, checked in full before anything of the folder is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from semi.artifacts.files import read_json, sha256_of, write_json
from semi.artifacts.tensors import tensor_shapes
from semi.errors import ArtifactError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
RUN = "run.json"
"""Written when a run begins and removed when it is complete."""

_KEYS = {"format_version", "kind", "files", "versions", "info"}
_PACKAGES = ("semi-llm", "torch", "transformers", "numpy", "safetensors")


def write_manifest(folder: str | Path, *, kind: str, files: Sequence[str], info: Mapping[str, Any]) -> None:
    """Complete a folder: hash, size and tensor shapes of each file, versions, and `info`.

    Args:
        folder: where the files lie.
        kind: what the folder is, e.g. "integration".
        files: names below `folder`, with "/" between folders.
        info: JSON-able; encoder, LLM revision, support-set hash, seed, metrics.

    Raises:
        OutputError: the manifest could not be written.
    """
    folder = Path(folder)
    write_json(
        folder / MANIFEST,
        {
            "format_version": FORMAT_VERSION,
            "kind": kind,
            "files": {name: _describe(folder / name) for name in files},
            "versions": {name: _version(name) for name in _PACKAGES},
            "info": info,
        },
    )


def read_manifest(folder: str | Path, kind: str, *, hashes: bool = True) -> dict[str, Any]:
    """The manifest of a complete folder of this kind; every file's size and hash has been checked.

    Args:
        folder: the folder.
        kind: what it must be.
        hashes: False leaves the hashes to another time: files of many GB take minutes.

    Returns:
        {"format_version", "kind", "files": {name: {"sha256", "bytes", "shapes"?}}, "versions", "info"}.

    Raises:
        ArtifactError: there is no such folder, it is incomplete, of another kind or format, or a file differs.
    """
    folder = Path(folder)
    _refuse_incomplete(folder, kind)
    path = folder / MANIFEST
    manifest: dict[str, Any] = read_json(path)
    if not is_manifest(manifest):
        raise ArtifactError(
            f"{path} is not a manifest of semi",
            got=sorted(manifest) if isinstance(manifest, dict) else type(manifest).__name__,
            expected=sorted(_KEYS),
            do="name a folder that semi made",
        )
    if manifest["format_version"] != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has another format",
            got=f"version {manifest['format_version']}",
            expected=f"version {FORMAT_VERSION}",
            do="use the version of semi that made it (see `versions` in the file), or make the folder again",
        )
    if manifest["kind"] != kind:
        raise ArtifactError(
            f"{folder} holds something else", got=manifest["kind"], expected=kind, do=f"name a folder of kind {kind!r}"
        )
    for name, entry in manifest["files"].items():
        _refuse_other_file(folder, name, entry, hashes=hashes)
    return manifest


def is_manifest(obj: object) -> bool:
    """Whether a JSON object is a manifest of semi, of any kind."""
    return (
        isinstance(obj, dict)
        and set(obj) == _KEYS
        and isinstance(obj["format_version"], int)
        and all(isinstance(obj[key], dict) for key in ("files", "versions", "info"))
    )


def _describe(path: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    if path.suffix == ".safetensors":
        entry["shapes"] = tensor_shapes(path)
    return entry


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _refuse_incomplete(folder: Path, kind: str) -> None:
    if not folder.is_dir():
        raise ArtifactError(
            f"{folder} is not a folder",
            got="a file" if folder.exists() else "nothing there",
            expected=f"a folder of kind {kind!r}",
            do="check the name",
        )
    if not (folder / MANIFEST).is_file():
        begun = (folder / RUN).is_file()
        raise ArtifactError(
            f"{folder} is incomplete: it has no {MANIFEST}",
            got="a run that was interrupted" if begun else "a folder without a manifest",
            expected=f"a complete folder of kind {kind!r}",
            do="run the command that made it again: it resumes" if begun else "name a folder that semi made",
        )


def _refuse_other_file(folder: Path, name: str, entry: object, *, hashes: bool) -> None:
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts or "\\" in name or ":" in name:
        raise ArtifactError(
            f"{folder / MANIFEST} names a file outside its folder", got=name, do="do not use this folder"
        )
    if not isinstance(entry, dict) or not {"sha256", "bytes"} <= set(entry):
        raise ArtifactError(f"{folder / MANIFEST} does not describe {name!r}", got=entry, expected="sha256 and bytes")
    path = folder / name
    again = "copy or make the folder again; a file of it was changed, lost or cut short"
    if not path.is_file():
        raise ArtifactError(f"{path} is missing", expected=f"{entry['bytes']} bytes", do=again)
    if (size := path.stat().st_size) != entry["bytes"]:
        raise ArtifactError(
            f"{path} has another size than its manifest says",
            got=f"{size} bytes",
            expected=f"{entry['bytes']} bytes",
            do=again,
        )
    if hashes and (digest := sha256_of(path)) != entry["sha256"]:
        raise ArtifactError(
            f"{path} has another sha256 than its manifest says", got=digest, expected=entry["sha256"], do=again
        )
