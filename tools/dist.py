"""Build the core and every plugin into dist/, the same files bit for bit from the same sources: `make dist`.

Each distribution is built from a copy of its sources, so that nothing left over from earlier builds gets in, with times
of SOURCE_DATE_EPOCH (the last commit's unless it is set) and modes that do not depend on the umask.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
EARLIEST = 315532800  # 1980: zip files know no earlier time
OTHERS = ("semi_plugins", "benchmarks", "runs", "tests", ".github", ".ci")
"""Folders beside the core's packages that are no part of its distribution."""


def main() -> None:
    """Build into the folder given, empty before; check the result and say what each file's hash is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    out = parser.parse_args().out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    epoch = max(int(os.environ.get("SOURCE_DATE_EPOCH") or _last_commit()), EARLIEST)
    for project in [ROOT, *sorted(path.parent for path in ROOT.glob("semi_plugins/*/pyproject.toml"))]:
        build(project, out, epoch)
    files = sorted(out.iterdir())
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)
    for file in files:
        print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}")


def build(project: Path, out: Path, epoch: int) -> None:
    """A source distribution, and a wheel built from it."""
    print(f"building {project}", flush=True)
    with TemporaryDirectory(prefix="semi-dist-") as place:
        copy, built = Path(place, "source"), Path(place, "built")
        for name in _sources(project):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project / name, copy / name)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (epoch, epoch))
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(copy)]
        done = subprocess.run(
            command, env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}, capture_output=True, text=True, umask=0o022
        )
        if done.returncode != 0:
            sys.exit(f"{project} cannot be built\n{done.stdout}\n{done.stderr}")
        for file in built.iterdir():
            if file.name.endswith(".tar.gz"):
                _settle(file, epoch)
            shutil.copyfile(file, out / file.name)


def _sources(project: Path) -> list[str]:
    """Files of a project that git knows or would add, by their paths in it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout.split("\0")
    names = sorted({name for name in listed if name and (project / name).is_file()})
    return [name for name in names if project != ROOT or name.split("/")[0] not in OTHERS]


def _settle(archive: Path, epoch: int) -> None:
    """Write a .tar.gz again with nothing in it that depends on the machine: order, owner, time, mode."""
    settled = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=settled, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.mode, member.pax_headers = (0o755 if member.isdir() else 0o644), {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    with archive.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=epoch) as packed:
        packed.write(settled.getvalue())


def _last_commit() -> str:
    return subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
