from __future__ import annotations

from pathlib import Path

import pytest
import torch
import typer
from safetensors import safe_open
from typer.testing import CliRunner

from semi.cli import convert
from semi.cli._common import guard
from semi.convert import load_converted

CASE = Path(__file__).parents[1] / "data" / "parity" / "hypernetwork_two_heads.safetensors"


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(guard(convert.command))
    return app


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    with safe_open(CASE, "pt") as file:
        state = {key[6:]: file.get_tensor(key) for key in file.keys() if key.startswith("state.")}  # noqa: SIM118
    torch.save(state, tmp_path / "semi.pt")
    return tmp_path / "semi.pt"


def test_it_writes_a_folder_that_can_be_loaded(app: typer.Typer, checkpoint: Path, tmp_path: Path) -> None:
    settings = ["--rank", "4", "--alpha", "4", "--n-tokens", "8", "--n-heads", "2"]
    result = CliRunner().invoke(app, [str(checkpoint), "--out", str(tmp_path / "out"), *settings])
    assert result.exit_code == 0, result.output
    projector, hypernetwork = load_converted(tmp_path / "out")
    assert projector.sizes["d_in"] == 24
    assert hypernetwork.settings["n_heads"] == 2


def test_settings_that_do_not_fit_end_with_2_and_write_nothing(
    app: typer.Typer, checkpoint: Path, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, [str(checkpoint), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "semi.pt" in result.stderr
    assert "hypernet.generators.0.weight" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_checkpoint_ends_with_2(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path / "none.pt"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "none.pt" in result.stderr
