"""Load plugins in processes of their own: what they raise, print, wait for or kill stays in there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from packaging.utils import canonicalize_name

from semi.errors import InputError
from semi.plugins.listing import PluginInfo, list_offers
from semi.plugins.source import as_if_installed

LOAD_LIMIT = 10.0
"""Seconds for the import of a plugin and the answers of its hooks."""
CONFORMANCE_LIMIT = 900.0
"""Seconds for trying all encoders of a modality; speech takes seconds a sample."""
_FATAL = "loading it"
_START = "import sys, json; sys.path[:] = json.loads(sys.argv.pop()); from semi.plugins.probe import main; main()"


@dataclass(frozen=True)
class Finding:
    """What one check of `semi.testing.ModalityConformance` found for one encoder."""

    check: str
    encoder: str
    state: str
    """passed, failed or skipped."""
    message: str | None = None


@dataclass(frozen=True)
class Checked:
    """An offer after it was tried."""

    plugin: PluginInfo
    conformance: list[Finding] = field(default_factory=list)
    """Empty where it was not asked for, or not loaded, or is no modality."""

    @property
    def fine(self) -> bool:
        """A blocked plugin breaks nothing; everything else has to load and to conform."""
        good = self.plugin.state in ("loaded", "blocked")
        return good and all(finding.state != "failed" for finding in self.conformance)


def check_installed(name: str | None = None) -> list[Checked]:
    """Load every plugin, or those of a name (of a distribution or of what it offers) and try the encoders of these.

    Raises:
        InputError: nothing installed goes by that name.
    """
    offers = list_offers()
    if name is None:
        return _check(offers, sys.path)
    chosen = [offer for offer in offers if name == offer.name or _same(name, offer.distribution)]
    if not chosen:
        known = sorted({text for offer in offers for text in (offer.name, offer.distribution)})
        near = get_close_matches(name, known, n=1)
        raise InputError(
            f"no installed plugin goes by the name {name!r}",
            expected=f"one of {', '.join(known)}; or a source folder, e.g. .",
            do=f"did you mean {near[0]!r}?" if near else "`semi plugins` lists them",
        )
    return _check(chosen, sys.path, conformance=True)


def check_source(folder: Path) -> list[Checked]:
    """Load the plugin whose source is in a folder, without installing it, and try its encoders.

    Raises:
        InputError: the folder holds no plugin.
    """
    with as_if_installed(folder) as (name, places):
        path = [*places, *sys.path]
        offers = _answers({"list": True}, path, LOAD_LIMIT).lines
        mine = [PluginInfo(**offer) for offer in offers if _same(name, offer["distribution"])]
        return _check(mine, path, conformance=True)


def that_end_the_process(offers: Sequence[PluginInfo]) -> list[PluginInfo]:
    """Those of the offers that hang or kill a process which loads them: no try can catch that."""
    task = {"load": [(offer.kind, offer.name) for offer in offers]}
    if _answers(task, sys.path, LOAD_LIMIT).ending is None:  # nearly always: all of them in one process, in a second
        return []
    plugins = [checked.plugin for checked in _check(offers, sys.path)]
    return [plugin for plugin in plugins if plugin.cause is not None and plugin.cause.startswith(_FATAL)]


def _check(offers: Sequence[PluginInfo], path: Sequence[str], *, conformance: bool = False) -> list[Checked]:
    """One process for each plugin (a distribution and its entry point), and one for each modality that is tried."""
    loaded: dict[PluginInfo, PluginInfo] = {offer: offer for offer in offers}
    usable = [offer for offer in offers if offer.state == "available"]
    usable.sort(key=lambda offer: (offer.distribution, offer.target))
    for _, group in groupby(usable, key=lambda offer: (offer.distribution, offer.target)):
        same = list(group)
        loaded.update(zip(same, _loaded(same, path), strict=True))
    results = []
    for plugin in loaded.values():
        tried = conformance and plugin.kind == "modality" and plugin.state == "loaded"
        results.append(Checked(plugin, _conformance(plugin, path) if tried else []))
    return results


def _loaded(offers: Sequence[PluginInfo], path: Sequence[str]) -> list[PluginInfo]:
    """Offers of one plugin as they are after they were loaded, or failed to, in one process."""
    task = {"load": [(offer.kind, offer.name) for offer in offers]}
    answers = _answers(task, path, LOAD_LIMIT)
    states = {(line["kind"], line["name"]): line for line in answers.lines}
    results = []
    for offer in offers:
        line = states.get((offer.kind, offer.name))
        if line is not None:
            results.append(replace(offer, state=line["state"], cause=line["cause"], fix=line["fix"]))
        else:
            fix = f"pip install --upgrade {offer.distribution}, or report it to its authors"
            results.append(replace(offer, state="failed", cause=f"{_FATAL} {answers.ending}", fix=fix))
    return results


def _conformance(plugin: PluginInfo, path: Sequence[str]) -> list[Finding]:
    answers = _answers({"conformance": plugin.name}, path, CONFORMANCE_LIMIT)
    findings = [Finding(**line) for line in answers.lines]
    if answers.ending is not None:
        findings.append(Finding("all", "", "failed", f"the checks did not end: trying the modality {answers.ending}"))
    return findings


@dataclass(frozen=True)
class _Answers:
    lines: list[dict[str, Any]]
    ending: str | None
    """How the process came to an untimely end."""


def _answers(task: dict[str, Any], path: Sequence[str], limit: float) -> _Answers:
    """What semi.plugins.probe says to a task in a process with the same sys.path."""
    with TemporaryFile("w+", encoding="utf-8") as output, TemporaryFile("w+", encoding="utf-8") as errors:
        # A file rather than a pipe: a grandchild that keeps it open cannot keep us waiting.
        process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(task), json.dumps(list(path))],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        output.seek(0)
        errors.seek(0)
        lines = [json.loads(line) for line in output if line.endswith("\n")]
        last = (errors.read().strip().splitlines() or [""])[-1]
    done = bool(lines) and lines[-1] == {"done": True}
    return _Answers(lines[:-1] if done else lines, None if done else _ending(code, limit, last))


def _ending(code: int | None, limit: float, last: str) -> str:
    if code is None:
        return f"hangs: no end after {limit:g} seconds"
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return f"ended the process {how}" + (f": {last}" if last else "")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process and whatever it started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def _same(name: str, distribution: str) -> bool:
    return canonicalize_name(name) == canonicalize_name(distribution)
