"""The folder a long command writes: claimed before work starts, resumable, complete only with its manifest."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from semi.artifacts.files import PARTIAL, config_hash, output_error, read_json, sync_folder, write_json
from semi.artifacts.lock import LOCK, FolderLock
from semi.artifacts.manifest import FORMAT_VERSION, MANIFEST, RUN, is_manifest, write_manifest
from semi.errors import ArtifactError, InputError, OutputError

_RUN_KEYS = {"format_version", "kind", "config_hash", "config"}
_OTHER = "name another --out, or start afresh with --force"
NEW = "run.new"
"""The folder inside a taken one where a forced run works, so that the old content stays until the new is complete."""


class OutputFolder:
    """A claimed output folder; use it in a `with` block, which gives the folder up again.

    Attributes:
        path: where the run writes; it exists and can be written to. `finish` moves its files to the claimed folder
            where that still holds an earlier result.
        resuming: an interrupted run with the same inputs and settings left its files here.

    Leaving the block with an InputError discards what this run began, because the inputs must change and nothing in it
    could be resumed; a full disk keeps what can be.
    """

    def __init__(
        self, out: Path, path: Path, *, kind: str, resuming: bool, lock: FolderLock, created: Sequence[Path]
    ) -> None:
        self.path, self.kind, self.resuming = path, kind, resuming
        self._out, self._lock, self._created = out, lock, created

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, InputError) and not self.resuming and (self._bare() or not isinstance(error, OutputError)):
            _discard(self.path, self._lock, self._created)
        self._lock.release()

    def finish(self, files: Sequence[str], info: Mapping[str, Any]) -> None:
        """Write the manifest over `files`, then remove all else: run.json, checkpoints. The folder is complete.

        Of a file in a folder, "files/config.json", the whole folder stays.
        """
        write_manifest(self.path, kind=self.kind, files=files, info=info)
        entries = {PurePosixPath(name).parts[0] for name in files}
        if self.path != self._out:
            self._replace(sorted(entries))
        # run.json first: with it and no checkpoint, a killed run would be taken for one that has hardly begun
        (self.path / RUN).unlink(missing_ok=True)
        _empty(self._out, keep={*entries, MANIFEST, LOCK})
        self._lock.release()

    def _replace(self, entries: Sequence[str]) -> None:
        # Killed in here, the folder is incomplete, and run.json in NEW lets the same command resume and mend it.
        _empty(self._out, keep={NEW, LOCK})
        for name in (*entries, MANIFEST):
            target = self._out / name
            try:
                (self.path / name).replace(target)
            except OSError as error:
                raise output_error(target, error) from error
        sync_folder(self._out)

    def _bare(self) -> bool:
        return {entry.name for entry in self.path.iterdir()} <= {RUN, LOCK}


def require_free(
    out: str | Path, *, force: bool = False, kind: str | None = None, known: Mapping[str, Any] | None = None
) -> None:
    """Refuse early what `open_output` will refuse, without the models in memory that the configuration may depend on.

    Args:
        out, force: as for `open_output`.
        kind: what the folder will be, where that is known.
        known: the entries of the configuration that are known.

    Raises:
        OutputError: the folder is complete, incomplete with another `kind` or other `known` entries, not one of semi's.
    """
    found = _look(Path(out))
    if force or found.free:
        return
    known = known or {}
    if not any(run["kind"] == (kind or run["kind"]) and not _differing(run, known) for run in found.runs.values()):
        raise _taken(Path(out), found, kind, known)


def open_output(out: str | Path, *, kind: str, config: Mapping[str, Any], force: bool = False) -> OutputFolder:
    """Claim `out` for a run: new, resumed, or with `force` to be replaced. Nothing is written where it is refused.

    Args:
        out: the folder; made with its parents where it does not exist.
        kind: what the folder will be, e.g. "integration".
        config: JSON-able; everything the result depends on (inputs by hash, settings, seed).
        force: start afresh over a complete or incomplete folder, whose content stays until the new one is complete.
            Only a folder that semi made is ever replaced.

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
    path, _ = _place(out, begun, force=force)  # before anything is created
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
        path, resuming = _place(out, begun, force=force)  # another run may have come first
        if path != out:
            path.mkdir(exist_ok=True)
            created = [path]
        if not resuming:
            write_json(path / RUN, begun)  # first, so that a folder killed while being emptied is still known as semi's
            _empty(path, keep={RUN, LOCK})
        (path / MANIFEST).unlink(missing_ok=True)  # killed after its manifest, before run.json was removed
        for leftover in path.glob(f".*{PARTIAL}"):
            leftover.unlink()
    except BaseException as error:
        if created and isinstance(error, OutputError):
            _discard(path, lock, created)
        lock.release()
        raise
    return OutputFolder(out, path, kind=kind, resuming=resuming, lock=lock, created=created)


@dataclass(frozen=True)
class _Found:
    """What lies in an output folder."""

    manifest: dict[str, Any] | None
    runs: dict[Path, dict[str, Any]]
    """run.json of the interrupted runs, by where they worked: in the folder, or in NEW."""

    @property
    def free(self) -> bool:
        return self.manifest is None and not self.runs


def _look(out: Path) -> _Found:
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is not a folder", got="a file", do="name another --out")
    if not out.is_dir() or all(_is_first_trace(entry.name) for entry in out.iterdir()):
        return _Found(None, {})
    manifest = _json_or_none(out / MANIFEST)
    runs = {folder: _json_or_none(folder / RUN) for folder in (out / NEW, out)}
    found = _Found(
        manifest if is_manifest(manifest) else None,
        {folder: run for folder, run in runs.items() if isinstance(run, dict) and set(run) == _RUN_KEYS},
    )
    if found.free:
        raise OutputError(
            f"{out} is not empty and was not made by semi",
            got=f"{sum(1 for _ in out.iterdir())} files or folders",
            expected="a new or empty folder",
            do="name another --out (--force never empties such a folder)",
        )
    return found


def _is_first_trace(name: str) -> bool:
    """What a run leaves behind that was killed before run.json stood: its lock, and run.json half written."""
    return name == LOCK or (name.startswith(f".{RUN}.") and name.endswith(PARTIAL))


def _place(out: Path, begun: Mapping[str, Any], *, force: bool) -> tuple[Path, bool]:
    """Where the run works, and whether it resumes what an interrupted one left there; raises where it may not."""
    found = _look(out)
    if force:  # without a manifest or run.json of its own, `out` is half emptied: nothing in it is worth keeping
        return (out / NEW if found.manifest or out in found.runs else out), False
    for folder, run in found.runs.items():
        if run["config_hash"] == begun["config_hash"]:
            return folder, True
    if not found.free:
        raise _taken(out, found, begun["kind"], begun["config"])
    return out, False


def _taken(out: Path, found: _Found, kind: str | None, config: Mapping[str, Any]) -> OutputError:
    if found.manifest:
        return OutputError(f"{out} is complete already", got=f"a finished {found.manifest['kind']}", do=_OTHER)
    run = next(iter(found.runs.values()))
    if kind not in (None, run["kind"]):
        difference = f"{run['kind']} there, {kind} now"
    else:
        old = run["config"]
        names = _differing(run, config)
        difference = "; ".join(f"{name}: {old.get(name)!r} there, {config[name]!r} now" for name in names)
    return OutputError(
        f"{out} holds an interrupted run with other inputs or settings",
        got=difference or None,
        expected="the same inputs and settings, to resume",
        do=_OTHER,
    )


def _differing(run: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in config if run["config"].get(name) != config[name])


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
