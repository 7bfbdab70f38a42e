"""docs/serve.md as it is read: every command and program runs, and what its tables name exists."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from semi.adaptation import adapt
from semi.foundation import Foundation
from semi.pairs import Pair
from semi.serve.limits import Limits
from tests.serve.conftest import running
from tests.serve.test_vllm import like_vllm

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serve.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S)
HERE = "http://127.0.0.1:8000"
SMILES = ("CCO", "CCN", "c1ccccc1", "CC(=O)O", "CCCl", "CC(C)=O", "CCCC", "OCCO")


@pytest.fixture(scope="module")
def folder(served_foundation: Foundation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page is read: my-molecules and my-imu."""
    pytest.importorskip("semi_plugin_molecules")
    pytest.importorskip("semi_plugin_imu")
    folder = tmp_path_factory.mktemp("served")
    still = [[0.0, 0.0, 9.8, 0.0, 0.0, 0.01 * i] for i in range(100)]
    windows = [{"data": [[i * x for x in row] for row in still], "rate": 50, "units": "SI"} for i in range(1, 9)]
    of = {"molecules": ("morgan", SMILES), "imu": ("statistics", windows)}
    for name, (encoder, samples) in of.items():
        pairs = [Pair(sample, ("a red cat", "a blue car")[i % 2]) for i, sample in enumerate(samples)]
        options: dict[str, Any] = {"encoder": encoder, "steps": 0, "examples": 1, "diagnose": False}
        adapt(served_foundation, name, pairs, out=folder / f"my-{name}", **options)
    return folder


def commands(first: str) -> list[list[str]]:
    lines = [line for language, text in BLOCKS if not language for line in text.splitlines()]
    return [words for words in map(shlex.split, lines) if first in words]


@contextmanager
def served(folder: Path, words: list[str]) -> Iterator[str]:
    """A command of the page that serves, at a port that is free; the address at which it says so."""
    at = words.index("semi")
    environment = dict(word.split("=", 1) for word in words[:at])
    command = [sys.executable, "-m", "semi.cli", *words[at + 1 :], "--port", "0"]
    process = subprocess.Popen(
        ["/usr/bin/env", *(f"{k}={v}" for k, v in environment.items()), *command],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        told = process.stderr.readline()
        found = re.fullmatch(r"serving (.+) over .+ at (http://\S+)/v1\n", told)
        assert found, told + process.stderr.read()
        yield found[2].replace("0.0.0.0", "127.0.0.1")
    finally:
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert (out, err) == ("", "")


def test_the_programs_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openai")
    programs = [text for language, text in BLOCKS if language == "python"]
    assert len(programs) == 3
    names: dict[str, Any] = {}
    with served(folder, commands("semi")[0]) as url:
        for number, program in enumerate(programs):
            assert program.count(HERE) == (number == 0)
            exec(compile(program.replace(HERE, url), f"serve.md, program {number + 1}", "exec"), names)
    printed = capsys.readouterr().out
    assert "'modality': 'molecules'" in printed
    assert "unlike_anything_seen" in printed
    assert printed.splitlines()[-1].startswith("32 {'label': ")


def test_with_a_key(folder: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    with served(folder, next(words for words in commands("semi") if "SEMI_API_KEY=secret" in words)) as url:
        asked = commands("curl")
        assert len(asked) == 3
        for words in asked:
            done = subprocess.run([word.replace(HERE, url) for word in words], capture_output=True, text=True)
            assert done.returncode == 0
            assert "error" not in done.stdout
        denied = subprocess.run(["curl", "-s", f"{url}/v1/models"], capture_output=True, text=True)
        assert "invalid_api_key" in denied.stdout


def test_with_a_server_like_vllm(folder: Path, served_foundation: Foundation) -> None:
    openai: Any = pytest.importorskip("openai")
    model = served_foundation.language_model
    words = next(words for words in commands("semi") if "vllm" in words)
    with running(like_vllm(model.model, model.tokenizer)) as (other, _):
        chosen = [word.replace("http://127.0.0.1:8001", other) for word in words]
        with served(folder, chosen) as url:
            client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
            part = {"type": "modality", "modality": "molecules", "data": {"text": "CCO"}}
            messages = [{"role": "user", "content": [part]}]
            answer = client.chat.completions.create(model="molecules", messages=messages, max_tokens=8)
    from semi.integration import Integration

    alone = Integration.load(folder / "my-molecules", language_model=model)
    alone.recall = None  # as the page says
    assert answer.choices[0].message.content == alone.describe("CCO", max_new_tokens=8)


def test_limits_codes_and_counts_of_the_page_exist() -> None:
    limits = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.M))
    assert {name: float(value) for name, value in limits.items()} == vars(Limits())
    sources = "".join(path.read_text("utf-8") for path in sorted((ROOT / "semi" / "serve").glob("*.py")))
    rows = re.findall(r"^\| [\d, ]+ \| (`.*?`) \|", PAGE, re.M)
    shown = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    raised = set(re.findall(r'Refusal\(\s*\d+, "(\w+)"', sources))
    assert shown == raised - {"internal_error", "generation_failed"}
    for name in re.findall(r"`(semi_\w+)`", PAGE):
        assert name.removesuffix("_total") in sources, name


def test_files_of_the_page_exist() -> None:
    (program,) = commands("python")
    assert (ROOT / program[1]).is_file()  # tests/test_example_programs.py compiles it
    assert (ROOT / "benchmarks" / "serve_load.py").is_file()
    install = next(words for words in commands("pip"))
    assert {name.removeprefix("semi-plugin-") for name in install[3:]} <= {p.name for p in ROOT.glob("semi_plugins/*")}
