"""`semi merge export` and `semi merge verify` as people meet them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM
from typer.testing import Result

from tests.merge.llamas import merge_llamas

Semi = Callable[..., Result]


@pytest.fixture(scope="module")
def merge(tmp_path_factory: pytest.TempPathFactory, write_lm: Callable[..., Path]) -> Path:
    return merge_llamas(tmp_path_factory.mktemp("merge"), write_lm).folder


@pytest.fixture
def merged(merge: Path, work: Path) -> str:
    """A copy in the working directory."""
    shutil.copytree(merge, work / "x.mmer")
    return "x.mmer"


def test_export(merged: str, work: Path, semi: Semi) -> None:
    result = semi("merge", "export", merged, "--modality", "text", "--out", "text")
    assert result.exit_code == 0, result.stderr
    assert "text: text, 20 tensors" in result.stdout
    assert "next: AutoModelForCausalLM.from_pretrained('text')" in result.stdout
    AutoModelForCausalLM.from_pretrained(work / "text")
    assert semi("merge", "export", merged, "-m", "lora", "-o", "text", "--force", "--quiet").stderr == ""


def test_export_refuses(merged: str, work: Path, refused: Callable[..., str]) -> None:
    refused("merge", "export", merged, "-m", "smell", "-o", "out", says=("smell", "text, vision, lora"))
    refused(
        "merge", "export", merged, "-m", "text", "-o", "out", "--base", "nowhere", says=("base", "nowhere", "--base")
    )
    refused("merge", "export", "nothing.mmer", "-m", "text", "-o", "out", says=("nothing.mmer is not a folder",))
    refused("merge", "export", merged, "-m", "text", "-o", merged, says=("is complete already",))
    refused("merge", "export", merged, "-o", "out", says=("modality",))


def test_verify(merged: str, semi: Semi) -> None:
    result = semi("merge", "verify", merged)
    assert result.exit_code == 0, result.stderr
    for text in ("files", "passed", "all 20 tensors of the base", "vision", "residual", "x.mmer --models"):
        assert text in result.stdout
    again = semi("merge", "verify", merged, "--models", "--quiet")
    assert again.exit_code == 0
    assert "figures, computed again" in again.stdout


def test_verify_json(merged: str, semi: Semi) -> None:
    result = semi("merge", "verify", merged, "--prompt", "a red cat", "--prompt", "two dogs", "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert found["fine"]
    assert {check["state"] for check in found["checks"]} == {"passed"}
    assert found["again"]["models"]["text"]["residual"] == pytest.approx(
        found["certificate"]["models"]["text"]["residual"]
    )
    assert set(found["divergence"]) == {"text", "vision", "lora"}
    shown = semi("merge", "verify", merged, "--prompt", "a red cat", "--quiet").stdout
    assert "KL divergence in nats a token" in shown


def test_a_violation_ends_with_1(merged: str, work: Path, semi: Semi) -> None:
    file = work / merged / "shared-00001.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    result = semi("merge", "verify", merged, "--quiet")
    assert result.exit_code == 1
    assert result.stderr == ""
    assert "shared-00001.safetensors has another sha256" in result.stdout
    assert not json.loads(semi("merge", "verify", merged, "--json").stdout)["fine"]


def test_a_truncated_merge_is_refused(merged: str, work: Path, refused: Callable[..., str]) -> None:
    file = work / merged / "shared-00001.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    refused("merge", "verify", merged, says=("shared-00001.safetensors", "another size"))
