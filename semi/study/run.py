"""A study's folder: claimed, resumed, and filled cell by cell."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from semi.artifacts import read_json, write_json
from semi.artifacts.files import output_error
from semi.artifacts.lock import LOCK, FolderLock
from semi.errors import ArtifactError, InputError, OutputError
from semi.study.config import StudyConfig
from semi.study.data import Prepared, describe, prepare
from semi.study.measure import foundation_sha256
from semi.study.pool import in_processes
from semi.study.results import Identity, Line, Results

C = TypeVar("C", bound=StudyConfig)
FILE = "study.json"
ENCODED = "encoded"
SHOWN = 5
"""Differences or failures that a message names."""
Hashes = Mapping[str, Mapping[str, str]]
"""Of what each method reads of each foundation, see `foundation_sha256`."""
Advance = Callable[[int, int, str], None]
"""Told (done, total, what)."""


@dataclass(frozen=True)
class Job:
    """Cells that are measured in one go, and all that this takes; can be sent to a process."""

    cells: tuple[Identity, ...]
    meaning: dict[str, Any]
    """What the results depend on beside the cells' names; kept in their lines, so that a change of it is noticed."""
    parts: Any
    """For the work alone."""


def run_study(
    kind: str,
    config: C,
    plan: Callable[[C, Hashes, Mapping[str, Prepared]], list[Job]],
    measure: Callable[[Job], list[Line]],
    out: Path,
    *,
    processes: int,
    force: bool = False,
    advance: Advance = lambda done, total, what: None,
) -> Results:
    """Measure every cell that is missing in `out`, and return all that is there.

    Args:
        plan: the jobs, given the hashes of the foundations and the targets, as far as they are encoded.
        measure: a function of a module that gives a line for each of a job's cells; a cell that fails is one too.
        force: measure again what was measured with other settings or data.

    Raises:
        OutputError: the folder is taken, or holds cells of another meaning.
        SemiError: a foundation or a target cannot be had.
    """
    described = config.model_dump(mode="json")
    hashes = {name: foundation_sha256(name) for name in config.all_foundations()}
    require_known(config, hashes)
    with study_folder(out, kind, described) as results:
        require_unchanged(plan(config, hashes, {}), results, force=force)
        targets = {target.name: prepare(target, out / ENCODED, advance) for target in config.targets}
        jobs = plan(config, hashes, targets)
        require_unchanged(jobs, results, force=force)
        describe_study(out, kind, described, {name: describe(prepared) for name, prepared in targets.items()})
        run_jobs(jobs, measure, results, processes=processes, threads=config.threads, advance=advance)
    return results


def require_known(config: StudyConfig, hashes: Hashes) -> None:
    """Refuse methods that read what a foundation does not have.

    Raises:
        InputError: names them.
    """
    wrong = [
        f"{method.name}: {method.reads} of {name}"
        for method in config.methods
        for name in config.foundations_of(method)
        if method.reads not in hashes[name]
    ]
    if wrong:
        raise InputError("foundations lack what methods read", got="; ".join(wrong), do="train it, or leave them out")


@contextmanager
def study_folder(out: Path, kind: str, config: dict[str, Any]) -> Iterator[Results]:
    """Claim a folder for a study of this kind, new or with earlier results.

    Raises:
        OutputError: it holds something else, is in use by another run, or cannot be written to.
        ArtifactError: its files are damaged.
    """
    _require_own(out, kind)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(out, error) from error
    lock = FolderLock(out)
    try:
        if not (out / FILE).exists():  # first of all, so that whatever is left here by a kill is known as a study's
            describe_study(out, kind, config, {})
        results = Results(out)
        results.mend()
        yield results
    finally:
        lock.release()


def describe_study(out: Path, kind: str, config: dict[str, Any], targets: dict[str, Any]) -> None:
    """Write down what the study is of: its configuration, and what is known of its targets."""
    versions = {"semi": version("semi-llm"), "torch": version("torch"), "python": sys.version.split()[0]}
    write_json(out / FILE, {"kind": kind, "config": config, "targets": targets, "versions": versions})


def read_study(folder: Path) -> dict[str, Any]:
    """What `describe_study` wrote: kind, config, targets, versions.

    Raises:
        ArtifactError: no study was ever begun there.
    """
    study = read_json(folder / FILE)
    if not isinstance(study, dict) or not {"kind", "config", "targets", "versions"} <= set(study):
        raise ArtifactError(f"{folder / FILE} does not describe a study", do="name a folder that `semi study` wrote")
    return study


def configuration(folder: Path, kind: type[C]) -> tuple[dict[str, Any], C]:
    """What `read_study` gives, and the configuration in it.

    Raises:
        ArtifactError: as `read_study`; or another version of semi wrote it.
    """
    study = read_study(folder)
    try:
        return study, kind.model_validate(study["config"])
    except ValidationError as error:
        raise ArtifactError(
            f"{folder / FILE} holds a configuration that this version does not know",
            got="; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:SHOWN]),
            do="run the study again with a configuration for this version",
        ) from error


def require_unchanged(jobs: Iterable[Job], results: Results, *, force: bool) -> None:
    """Refuse a configuration that gives measured cells another meaning; with `force` forget those cells.

    Compared is what the jobs name: at first the configuration alone, later the data too.

    Raises:
        OutputError: names the differences.
    """
    changed: dict[str, None] = {}
    stale = []
    for job in jobs:
        for cell in job.cells:
            line = results.get(cell)
            found = [] if line is None else list(_differences(_place(cell), line["meaning"], job.meaning))
            stale += [cell] * bool(found)
            changed |= dict.fromkeys(found)
    if stale and not force:
        raise OutputError(
            f"{len(stale)} cells were measured with other settings or data",
            got=_few(list(changed)),
            expected="cells that are measured once; new ones can be added",
            do="name another --out, or measure these again with --force",
        )
    if stale:
        results.drop(stale)


def run_jobs(
    jobs: Sequence[Job],
    work: Callable[[Job], list[Line]],
    results: Results,
    *,
    processes: int,
    threads: int | None,
    advance: Advance,
) -> None:
    """Measure all cells that are not there yet; a line is on the disk as soon as its job has ended.

    Args:
        work: a function of a module that gives a line for each of a job's cells.
    """
    missing = [replace(job, cells=tuple(cell for cell in job.cells if not results.done(cell))) for job in jobs]
    todo = [job for job in missing if job.cells]
    total = sum(len(job.cells) for job in jobs)
    done = total - sum(len(job.cells) for job in todo)
    advance(done, total, "starting")
    for lines in in_processes(work, todo, processes=processes, threads=threads):
        results.append(lines)
        done += len(lines)
        advance(done, total, told(lines[-1]["cell"]))


def told(cell: Identity) -> str:
    """A cell in one line of a message."""
    return ", ".join(f"{cell[name]} shots" if name == "shots" else f"{cell[name]}" for name in cell if name != "seed")


def failures(lines: Iterable[Line]) -> list[str]:
    """The cells that failed, with the reason."""
    return [
        f"{told(line['cell'])}, seed {line['cell']['seed']}: {line['error'].splitlines()[0]}"
        for line in lines
        if "error" in line
    ]


def _few(found: Sequence[str]) -> str:
    rest = len(found) - SHOWN
    return "; ".join(found[:SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def _place(cell: Identity) -> str:
    return f"{cell['target']}, {cell['method']}"


def _differences(where: str, there: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for name, new in now.items():
        old = there.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(
                f"{where}, {name}", old | dict.fromkeys(new.keys() - old), new | dict.fromkeys(old.keys() - new)
            )
        elif old != new:
            yield f"{where}, {name}: {json.dumps(old)} there, {json.dumps(new)} now"


def _require_own(out: Path, kind: str) -> None:
    if not out.exists() or (out.is_dir() and all(entry.name == LOCK for entry in out.iterdir())):
        return
    if not out.is_dir():
        raise OutputError(f"{out} is not a folder", got="a file", do="name another --out")
    if not (out / FILE).is_file():
        raise OutputError(
            f"{out} is not empty and holds no study", expected="a new or empty folder", do="name another --out"
        )
    if (there := read_study(out)["kind"]) != kind:
        raise OutputError(f"{out} holds another study", got=there, expected=kind, do="name another --out")
