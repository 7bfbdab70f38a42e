"""The folder a long command writes: claimed before work starts, resumable, complete only with its manifest."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from semi.artifacts.files import PARTIAL, config_hash, output_error, read_json, write_json
from semi.artifacts.lock import LOCK, FolderLock
from semi.artifacts.manifest import FORMAT_VERSION, MANIFEST, RUN, is_manifest, write_manifest
from semi.errors import ArtifactError, InputError, OutputError

_RUN_KEYS = {"format_version", "kind", "config_hash", "config"}
_OTHER = "name another --out, or start afresh with --force"


class OutputFolder:
    """A claimed output folder; use it in a `with` block, which gives the folder up again.

    Attributes:
        path: the folder; it exists and can be written to.
        resuming: an interrupted run with the same inputs and settings left its files here.

    Leaving the block with an InputError discards a folder that this run began, because the inputs must change and
    nothing in it could be resumed; a full disk keeps what can be.
    """

    def __init__(self, path: Path, *, kind: str, resuming: bool, lock: FolderLock, created: Sequence[Path]) -> None:
        self.path, self.kind, self.resuming = path, kind, resuming
        self._lock, self._created = lock, created

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, InputError) and not self.resuming and (self._bare() or not isinstance(error, OutputError)):
            _discard(self.path, self._lock, self._created)
        self._lock.release()

    def finish(self, files: Sequence[str], info: Mapping[str, Any]) -> None:
        """Write the manifest over `files`, then remove all else: run.json, checkpoints. The folder is complete."""
        write_manifest(self.path, kind=self.kind, files=files, info=info)
        # run.json first: with it and no checkpoint, a killed run would be taken for one that has hardly begun
        (self.path / RUN).unlink(missing_ok=True)
        _empty(self.path, keep={*files, MANIFEST, LOCK})
        self._lock.release()

    def _bare(self) -> bool:
        return {entry.name for entry in self.path.iterdir()} <= {RUN, LOCK}


def open_output(out: str | Path, *, kind: str, config: Mapping[str, Any], force: bool = False) -> OutputFolder:
    """Claim `out` for a run: new, resumed, or with `force` emptied. Nothing is written where it is refused.

    Args:
        out: the folder; made with its parents where it does not exist.
        kind: what the folder will be, e.g. "integration".
        config: JSON-able; everything the result depends on (inputs by hash, settings, seed).
        force: start afresh over a complete or incomplete folder. Only a folder that semi made is ever emptied.

    Raises:
        OutputError: the folder is complete, incomplete with another configuration, not one of semi's, in use by another
            run, or cannot be written to.
    """
    out = Path(out)
    begun = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "config_hash": config_hash({"kind": kind, "config": config}),
        "config": config,
    }
    _refuse_taken(out, begun, force=force)  # before anything is created
    created = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _unmake(created)
        raise output_error(out, error) from error
    try:
        lock = FolderLock(out)
    except OutputError:
        _unmake(created)
        raise
    try:
        resuming = _refuse_taken(out, begun, force=force)  # another run may have come first
        if not resuming:
            write_json(out / RUN, begun)  # first, so that a folder killed while being emptied is still known as semi's
            _empty(out, keep={RUN, LOCK})
        (out / MANIFEST).unlink(missing_ok=True)  # killed after its manifest, before run.json was removed
        for leftover in out.glob(f".*{PARTIAL}"):
            leftover.unlink()
    except BaseException as error:
        if created and isinstance(error, OutputError):
            _discard(out, lock, created)
        lock.release()
        raise
    return OutputFolder(out, kind=kind, resuming=resuming, lock=lock, created=created)


def _refuse_taken(out: Path, begun: Mapping[str, Any], *, force: bool) -> bool:
    """Whether the folder holds an interrupted run of this very configuration; raises where `out` may not be used."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is not a folder", got="a file", do="name another --out")
    if not out.is_dir() or not any(entry.name != LOCK for entry in out.iterdir()):
        return False
    manifest, run = _json_or_none(out / MANIFEST), _json_or_none(out / RUN)
    complete, interrupted = is_manifest(manifest), isinstance(run, dict) and set(run) == _RUN_KEYS
    if not complete and not interrupted:
        raise OutputError(
            f"{out} is not empty and was not made by semi",
            got=f"{sum(1 for _ in out.iterdir())} files or folders",
            expected="a new or empty folder",
            do="name another --out (--force never empties such a folder)",
        )
    if force:
        return False
    same = interrupted and run["config_hash"] == begun["config_hash"]
    if complete and not same:
        raise OutputError(f"{out} is complete already", got=f"a finished {manifest['kind']}", do=_OTHER)
    if not same:
        raise OutputError(
            f"{out} holds an interrupted run with other inputs or settings",
            got=_difference(run, begun),
            expected="the same inputs and settings, to resume",
            do=_OTHER,
        )
    return True


def _difference(run: Mapping[str, Any], begun: Mapping[str, Any]) -> str:
    if run["kind"] != begun["kind"]:
        return f"{run['kind']} there, {begun['kind']} now"
    old, new = run["config"], begun["config"]
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return "; ".join(f"{name}: {old.get(name)!r} there, {new.get(name)!r} now" for name in names)


def _json_or_none(path: Path) -> Any:
    try:
        return read_json(path)
    except ArtifactError:
        return None


def _empty(folder: Path, *, keep: set[str]) -> None:
    # the manifest first: a folder half emptied must not look complete
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name != MANIFEST):
        if entry.name in keep:
            continue
        try:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        except OSError as error:
            raise output_error(entry, error) from error


def _discard(folder: Path, lock: FolderLock, created: Sequence[Path]) -> None:
    """Leave no trace of a run that began nothing worth keeping."""
    _empty(folder, keep={LOCK})
    lock.release()
    _unmake(created)


def _unmake(created: Sequence[Path]) -> None:
    for made in created:  # the folder itself first, then its parents
        with contextlib.suppress(OSError):
            made.rmdir()
