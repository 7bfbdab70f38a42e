"""A workshop over the tiny foundation, files as somebody would drop them, and the page in a real browser."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semi.pairs import Pair
from semi.ui.workshop import Workshop

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ui.md").read_text("utf-8")
WIDTH = 10
COLOURS, THINGS = ("red", "green", "blue"), ("cat", "dog", "house", "car")
MAPS = np.random.default_rng(1).standard_normal((7, WIDTH))


def toy_pairs(n: int) -> list[Pair]:
    """A toy sensor: colour and thing each move the vector along a direction of their own."""
    draw = np.random.default_rng(0)
    return [
        Pair(
            (MAPS[i % 3] + MAPS[3 + i % 4] + 0.05 * draw.standard_normal(WIDTH)).round(4).tolist(),
            f"{COLOURS[i % 3]} {THINGS[i % 4]}",
        )
        for i in range(n)
    ]


@pytest.fixture(scope="session")
def drops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pairs.jsonl with 36 pairs, broken.jsonl, recording.csv with a gap, and study/summary.json."""
    folder = tmp_path_factory.mktemp("drops")
    lines = [json.dumps({"sample": pair.sample, "caption": pair.caption}) for pair in toy_pairs(36)]
    (folder / "pairs.jsonl").write_text("\n".join(lines), "utf-8")
    (folder / "broken.jsonl").write_text('{"sample": "<b>", "caption": ""}', "utf-8")
    rows = [f"{i * 0.02 + (i > 150):.2f},{','.join(f'{x:.3f}' for x in MAPS[0] + MAPS[3])}" for i in range(300)]
    header = ",".join(["time", *(f"c{i}" for i in range(WIDTH))])
    (folder / "recording.csv").write_text("\n".join([header, *rows]), "utf-8")
    scores = dict.fromkeys(("attribute_accuracy", "rouge_l", "cider_d", "cosine"))
    loss = {8: {"mean": 3.0, "se": 0.2}, 32: {"mean": 2.0, "se": None}}
    table = [{"target": "toys", "method": "adapted", "shots": n, "loss": loss[n], **scores} for n in loss]
    (folder / "study").mkdir()
    (folder / "study" / "summary.json").write_text(json.dumps({"rows": table}), "utf-8")
    return folder


@pytest.fixture
def workshop(foundation_folder: Path, tiny_text: str, tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(foundation_folder, tmp_path)
    yield made
    made.close()


@dataclass
class Served:
    """The page as `semi ui` serves it."""

    address: str
    folder: Path
    """Where it saves."""
    errors: Path
    """What it wrote to stderr."""


@pytest.fixture(scope="session")
def served(
    foundation_folder: Path, tiny_text_site: Path, drops: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """The last command of docs/ui.md, with the tiny foundation and any port."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("page")
    (folder / "my-sensors").mkdir()
    (folder / "my-study").symlink_to(drops / "study")
    command = shlex.split(re.findall(r"^semi (ui .*)$", PAGE, re.M)[-1])
    options = ["--foundation", str(foundation_folder), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tiny_text_site), str(ROOT)]), "TMPDIR": str(folder)}
    with (folder / "stderr").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "semi", *command, *options],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    address = process.stdout.readline().split()
    assert address, (folder / "stderr").read_text()
    yield Served(address[0], folder / "my-sensors", folder / "stderr")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not list(folder.glob("semi-ui-*")), "what was dropped is deleted"
    process.stdout.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, served: Served) -> Iterator[Callable[..., Any]]:
    """Opens the page in a window of some width; at the end, it must have asked no other host and raised nothing."""
    contexts, asked, raised = [], [], []

    def opened(width: int = 1280, scheme: str = "light") -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: raised.append(str(error)))
        page.goto(served.address)
        page.get_by_role("tab", name="Add a sensor").first.wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert raised == []
    assert {url for url in asked if not url.startswith((served.address, "data:", "blob:"))} == set()
    assert "Traceback" not in served.errors.read_text()
