"""What a command took is measured with its children; one that fails says what it wrote."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.processes import Failed, machine, measured

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is sampled from /proc")
HELD = "import time; held = bytearray(b'x' * 50_000_000); time.sleep(0.3)"
OF_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HELD!r}], check=True)"


@pytest.mark.parametrize("program", [HELD, OF_A_CHILD])
def test_memory_that_no_file_backs_is_seen(program: str, tmp_path: Path) -> None:
    cost = measured([sys.executable, "-c", program], tmp_path / "log")
    assert cost.anonymous > 50_000_000
    assert max(size for _, size in cost.trace) == cost.anonymous
    assert cost.seconds > 0.3
    assert cost.row()["anonymous_mb"] == round(cost.anonymous / 1e6)


def test_a_command_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"ended with 3:\nno such luck"):
        measured([sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"], tmp_path / "log")


def test_the_environment_is_added_to(tmp_path: Path) -> None:
    measured([sys.executable, "-c", "import os; print(os.environ['ONE'])"], tmp_path / "log", {"ONE": "other"})
    assert (tmp_path / "log").read_text() == "other\n"


def test_the_machine_is_described() -> None:
    assert machine()["cores"] >= 1
