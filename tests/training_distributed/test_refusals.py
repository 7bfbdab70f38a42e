"""What is refused, and what is said when a process fails: one message, whatever the number of processes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from semi.cli import app
from semi.errors import InputError, OutputError, SemiError
from semi.language_model import LanguageModel
from semi.training.distributed import joined
from semi.training.launching import launch
from semi.training.sharding import shard
from tests.training_distributed.failing import fail


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("killed", SemiError, ("process 1 of 2 was killed", "SIGKILL", "last checkpoint")),
        ("full", OutputError, ("the disk is full", "no space", "make room")),
        ("bug", SemiError, ("process 1 of 2 failed", "ZeroDivisionError: by zero")),
    ],
)
def test_the_process_that_ended_it_is_named(kind: str, error: type[SemiError], says: tuple[str, ...]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SemiError) as failed:
        launch(2, fail, kind)
    assert type(failed.value) is error
    assert all(text in str(failed.value) for text in says)
    assert "in two lines" not in str(failed.value)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a training that must be refused with exit code 2; gives the message."""
    monkeypatch.chdir(tmp_path)

    def run(*options: str) -> str:
        done = CliRunner().invoke(app, ["train", "projector", "recipe.yaml", "--out", "out", *options])
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")
        assert list(tmp_path.iterdir()) == []
        return done.stderr

    return run


def test_one_process_has_nothing_to_shard_over(refused: Callable[..., str]) -> None:
    assert "add --launch N" in refused("--fsdp")


def test_a_process_of_a_team_launches_no_other(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "drop --launch" in refused("--launch", "2")


@pytest.mark.parametrize("name", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_MIXED_PRECISION"])
def test_what_accelerate_would_do_by_itself_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(name, "bf16" if "PRECISION" in name else "true")
    with pytest.raises(InputError, match="accelerate") as failed, joined():
        pass
    assert name in str(failed.value)


def test_4_bit_weights_are_not_sharded(tiny_lm: Path) -> None:
    pytest.importorskip("bitsandbytes")
    model = LanguageModel.load(str(tiny_lm), precision="nf4", device="cpu")
    with pytest.raises(InputError, match="cannot be sharded") as failed:
        shard(model, torch.device("cpu"))
    assert "nf4" in str(failed.value)
    assert not model.lockstep
