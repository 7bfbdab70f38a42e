"""Loading a language model in somebody's process: no bar, no thread, and transformers is as it was."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from transformers.utils import logging

from semi.quiet import no_bars

pytestmark = pytest.mark.skipif(not hasattr(logging, "set_tqdm_hook"), reason="transformers before 5.4")


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is told of bars that are shown; real ones would start a thread."""
    shown: list[str] = []

    def hook(factory: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        shown.append(options["desc"])
        return logging.EmptyTqdm(*args, **options)

    monkeypatch.setattr(logging, "_tqdm_hook", hook)
    return shown


def bar(name: str) -> list[int]:
    return list(logging.tqdm([1, 2], desc=name))


def test_bars_of_this_thread_alone_are_not_shown(bars: list[str]) -> None:
    hook = logging._tqdm_hook
    with no_bars():
        assert bar("inside") == [1, 2]
        with no_bars():
            bar("further inside")
        bar("still inside")
        thread = threading.Thread(target=bar, args=("of another thread",))
        thread.start()
        thread.join()
    bar("afterwards")
    assert bars == ["of another thread", "afterwards"]
    assert logging._tqdm_hook is hook


def test_two_threads_leave_in_any_order(bars: list[str]) -> None:
    hook = logging._tqdm_hook
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with no_bars():
            entered.set()
            leave.wait(20)
            bar("of the other")

    thread = threading.Thread(target=other)
    with no_bars():
        thread.start()
        assert entered.wait(20)
    bar("of the first")
    leave.set()
    thread.join()
    assert bars == ["of the first"]
    assert logging._tqdm_hook is hook


def test_a_hook_that_came_in_the_meantime_stays(bars: list[str]) -> None:
    def newcomer(factory: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        return logging.EmptyTqdm(*args, **options)

    with no_bars():
        logging.set_tqdm_hook(newcomer)
    assert logging._tqdm_hook is newcomer


def test_loading_prints_nothing_and_leaves_no_thread(tiny_lm: Path) -> None:
    """In a fresh process: once started, the thread that watches over bars runs until the end."""
    script = (
        "import sys, threading; from semi.language_model import LanguageModel;"
        "LanguageModel.load(sys.argv[1], precision='fp32', device='cpu');"
        "print(*(thread.name for thread in threading.enumerate()), sep=',')"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tiny_lm)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("MainThread\n", "")
