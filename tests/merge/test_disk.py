"""A merge that finds room on the disk keeps to it: its worst moment takes no more than it asked for."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from torch import Tensor

from semi.merge import adding, editing, inventory, run, writer
from semi.merge.adding import AddConfig, add_model
from semi.merge.run import run_merge
from semi.merge.writer import TensorFile
from tests.merge.conftest import write_checkpoint
from tests.merge.merges import MERGES, config_of, contents

VARIANTS: dict[str, dict[str, Any]] = MERGES | {
    f"{method}, {tau}": {"merge": {"method": method, "tau": tau}}
    for method in ("optimal", "ternary", "ties", "emr")
    for tau in ("bf16", "nf4")
}
VARIANTS |= {"mmer, budget": {"merge": {"method": "mmer"}, "mask": {"rule": "budget", "bits": 0.5}}}
SHAPE = (192, 160)
ZEROS = {"few zeros": 2, "half": 80, "most": 158}
"""Of 160 entries in a row, those that no model changes."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny tensors in several blocks: threads would wait for one another, and all for the disk."""
    monkeypatch.setattr(inventory, "BLOCK", 16000)
    monkeypatch.setattr(run, "BLOCK", 16000)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], int]:
    """The most bytes that lay in a folder so far, of those moments at which anything is about to go or be moved."""
    most: dict[Path, int] = {}

    def look(*_: object) -> None:
        for folder in most:
            files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_nlink == 1]
            most[folder] = max(most[folder], sum(path.stat().st_size for path in files))

    record = TensorFile.record

    def recorded(self: TensorFile) -> dict[str, Any]:
        self._file.flush()
        look()
        return record(self)

    monkeypatch.setattr(TensorFile, "record", recorded)
    monkeypatch.setattr(os, "fsync", look)  # of every file that is complete, before it takes another one's place

    def of(folder: Path) -> int:
        return most.setdefault(folder, 0)

    return of


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each merge wants to be free."""
    found: list[int] = []
    for module in (run, adding):
        monkeypatch.setattr(module, "require_disk", lambda needed, folder: found.append(needed))
    return found


def models_of(folder: Path, zeros: int) -> tuple[Path, dict[str, Path | dict[str, Any]]]:
    """A base and three models of four tensors, the second of which is the same in all."""
    draw = torch.Generator().manual_seed(zeros)
    base = {f"model.layers.{i}.mlp.up_proj.weight": torch.randn(SHAPE, generator=draw) for i in range(4)}
    changed = torch.ones(SHAPE)
    changed[:, :zeros] = 0

    def tuned(name: str) -> Path:
        change = {key: 0.1 * changed * torch.randn(SHAPE, generator=draw) for key in base}
        change["model.layers.1.mlp.up_proj.weight"].zero_()
        tensors: dict[str, Tensor] = {key: tensor + change[key] for key, tensor in base.items()}
        return write_checkpoint(folder / name, tensors | {"tower.weight": torch.ones(30, 30)})

    models = {name: {"path": str(tuned(name)), "keep": ["tower"]} for name in ("text", "vision", "audio")}
    (folder / "audio" / "tokenizer.json").write_text("{}" * 5000)
    return write_checkpoint(folder / "base", base), models


@pytest.mark.parametrize("zeros", ZEROS)
@pytest.mark.parametrize("shard", ["20K", "2G"])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_worst_moment_takes_no_more_than_was_asked_for(
    name: str, shard: str, zeros: str, used: Callable[[Path], int], asked: list[int], tmp_path: Path
) -> None:
    base, models = models_of(tmp_path, ZEROS[zeros])
    new = models.pop("audio")
    out = tmp_path / "out"
    assert used(out) == 0
    run_merge(config_of(base, models, io={"shard": shard}, **VARIANTS[name]), out)
    assert sum(map(len, contents(out).values())) <= used(out) <= asked[0]

    assert isinstance(new, dict)
    more = tmp_path / "more"
    assert used(more) == 0
    add_model(out, AddConfig.model_validate({"name": "audio", **new, "residual": 0.3}), more)
    assert 0 < used(more) <= asked[1]


def test_a_vector_is_not_kept_in_the_form_that_it_is_not_stored_in(
    used: Callable[[Path], int], asked: list[int], tmp_path: Path
) -> None:
    base, models = models_of(tmp_path, 1)
    out = tmp_path / "out"
    assert used(out) == 0
    run_merge(config_of(base, models, io={"shard": "20K"}, merge={"method": "optimal"}), out)
    vector = sum(path.stat().st_size for path in out.glob("shared-*"))
    assert used(out) < sum(map(len, contents(out).values())) + vector


@pytest.mark.parametrize("tau", ["fp32", "nf4"])
def test_what_is_moved_in_a_part_file_outlasts_interruptions(
    tau: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(run, "SYNC", 0)
    base, models = models_of(tmp_path, 2)
    settings = config_of(base, models, io={"shard": "20K"}, merge={"method": "optimal", "tau": tau})
    run_merge(settings, tmp_path / "whole")
    moved = writer._move
    stops = 0
    for last in range(100):
        left = last

        def stop(file: BinaryIO, at: int, to: int, length: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                file.seek(to)
                file.write(bytes(length // 2))  # half moved, and not even right
                raise KeyboardInterrupt
            moved(file, at, to, length)

        out = tmp_path / str(last)
        monkeypatch.setattr(writer, "_move", stop)
        try:
            run_merge(settings, out)
        except KeyboardInterrupt:
            stops += 1
            monkeypatch.setattr(writer, "_move", moved)
            run_merge(settings, out)
        assert contents(out) == contents(tmp_path / "whole")
        if left >= 0:
            break
    assert stops > 5


def test_without_links_the_files_of_the_other_models_need_room_too(
    asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, models = models_of(tmp_path, 1)
    new = models.pop("audio")
    assert isinstance(new, dict)
    run_merge(config_of(base, models), old := tmp_path / "old")
    config = AddConfig.model_validate({"name": "audio", **new})
    add_model(old, config, tmp_path / "linked")

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(editing.os, "link", refuse)
    add_model(old, config, tmp_path / "copied")
    assert contents(tmp_path / "copied") == contents(tmp_path / "linked")
    whole = contents(old)
    assert asked[2] - asked[1] == sum(
        len(data) for n, data in whole.items() if n not in ("manifest.json", "merge.json")
    )
