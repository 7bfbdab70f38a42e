"""kill -9 at random moments of `semi merge run`: run again, it must end with the very bytes of a run left alone.

    python -m benchmarks.merge_kill --layers 4 --out benchmarks/results/merge-kill.json

A run that nobody disturbs is timed, from its first trace in the output folder to its end, and its files are hashed.
Then, for each of `--kills` equal parts of that time, a run of its own is killed at a random moment of the part, and
started again with the same command. Models are those of `merge_race`.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.merge_race import prepare, read_all, write_settings
from benchmarks.processes import Failed, machine, measured
from semi.artifacts import sha256_of, write_json
from semi.artifacts.manifest import MANIFEST
from semi.merge.run import JOURNAL


class Killer:
    """Runs one merge again and again.

    Args:
        settings: of the merge.
        folder: for results and what the command prints.
    """

    def __init__(self, settings: Path, folder: Path) -> None:
        self._out, self._log = folder / "killed.mmer", folder / "last.log"
        run = [sys.executable, "-m", "semi.cli", "merge", "run", str(settings), "--out", str(self._out)]
        self._command = [*run, "--quiet"]

    def undisturbed(self) -> tuple[float, dict[str, str]]:
        """Seconds from the first trace in the folder to the end, and the sha256 of every file."""
        process = self._begun()
        since = time.perf_counter()
        if process.wait():
            raise Failed(self._log.read_text(errors="replace"))
        return time.perf_counter() - since, hashes(self._out)

    def killed(self, moment: float) -> tuple[str, dict[str, str]]:
        """How far a run was that was killed so many seconds after its first trace, and the sha256 of every file once it
        was resumed."""
        process = self._begun()
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        reached = stage(self._out)
        if reached != "complete":
            measured(self._command, self._log)
        return reached, hashes(self._out)

    def _begun(self) -> subprocess.Popen[bytes]:
        """The command in an empty place, once it has left a trace there."""
        shutil.rmtree(self._out, ignore_errors=True)
        with open(self._log, "wb") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log)
        while not self._out.exists() and process.poll() is None:
            time.sleep(0.002)
        return process


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of every file by its name."""
    return {str(path.relative_to(folder)): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def stage(folder: Path) -> str:
    """How far the run in a folder has come."""
    if (folder / MANIFEST).exists():
        return "complete"
    if not (folder / JOURNAL).exists():
        return "nothing"
    whole = (folder / JOURNAL).read_text().rpartition("\n")[0]
    lines = [json.loads(line) for line in whole.splitlines()]
    done, tensors = {name for line in lines for name in line}, sum("tensor" in line for line in lines)
    if list(folder.glob("*.safetensors")):
        return "files written"
    return f"{tensors} tensors" if tensors else "statistics" if "statistics" in done else ", ".join(done) or "begun"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--method", default="mmer")
    parser.add_argument("--folder", type=Path, default=Path("runs/merge-race"), help="for models and results")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    models = prepare(options.folder, options.layers)
    read_all(models["base"].parent)
    merge = {"method": options.method}
    killer = Killer(write_settings(options.folder / "kill.yaml", models, merge), options.folder)
    killer.undisturbed()  # the first run finds nothing in the caches
    seconds, expected = killer.undisturbed()
    found: dict[str, Any] = {
        "command": " ".join(sys.orig_argv[1:]),
        "machine": machine(),
        "seconds": round(seconds, 2),
        "files": len(expected),
        "kills": [],
    }
    draw = random.Random(options.seed)
    for part in range(options.kills):
        moment, reached = seconds * (part + draw.random()) / options.kills, "complete"
        while reached == "complete":
            reached, now = killer.killed(moment)
            found["kills"].append({"after": round(moment, 2), "reached": reached, "identical": now == expected})
            print(found["kills"][-1], flush=True)
            write_json(options.out, found)
            moment *= 0.95  # this run was quicker than the one that was timed: it had ended already
    return 0 if all(kill["identical"] for kill in found["kills"]) else 1


if __name__ == "__main__":
    sys.exit(main())
