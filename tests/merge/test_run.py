"""A merge on disk equals the one in memory, for any memory, threads and blocks, and however it is interrupted."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from semi.errors import InputError, OutputError
from semi.merge import inventory, plan, run
from semi.merge.artifact import Artifact
from semi.merge.config import MergeConfig
from semi.merge.plan import RUNTIME
from semi.merge.run import run_merge
from tests.merge.conftest import SHAPES, UP, Q, write_adapter, write_checkpoint
from tests.merge.merges import MERGES, config_of, contents, expected

Config = Callable[..., MergeConfig]


class StoppedError(Exception):
    """Raised in the midst of a merge."""


@pytest.fixture
def config(tmp_path: Path, base_folder: Path, tunes: dict[str, dict[str, Tensor]]) -> Config:
    """The configuration of a merge of the three fine-tunes."""
    folders = {name: write_checkpoint(tmp_path / name, tensors) for name, tensors in tunes.items()}
    for folder in folders.values():
        (folder / "tokenizer.json").write_text("{}")
    return lambda **settings: config_of(base_folder, folders, **settings)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny tensors, hundreds of merges: threads would wait for one another, and all for a disk that loses no power."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks a tensor, and a line of the journal after each tensor."""
    monkeypatch.setattr(inventory, "BLOCK", 32)
    monkeypatch.setattr(run, "BLOCK", 32)
    monkeypatch.setattr(run, "SYNC", 0)


@pytest.mark.parametrize("name", MERGES)
@pytest.mark.parametrize("block", [2**22, 24])
def test_the_artifact_equals_the_computation_in_memory(
    name: str,
    block: int,
    config: Config,
    base: dict[str, Tensor],
    tunes: dict[str, dict[str, Tensor]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inventory, "BLOCK", block)
    monkeypatch.setattr(run, "BLOCK", block)
    settings = config(**MERGES[name])
    run_merge(settings, tmp_path / "out")
    wanted = expected(settings, base, list(tunes.values()))
    with Artifact.open(tmp_path / "out") as artifact:
        assert {entry.key for entry in artifact.of("merged")} == set(wanted)
        for key, (code, scales) in wanted.items():
            for rows, found in artifact.code(key):
                part = slice(rows.start, rows.stop)
                assert torch.equal(found.shared, code.shared[part])
                if code.masks is None or found.masks is None:
                    assert code.masks is found.masks is None
                else:
                    assert found.masks.dtype == code.masks.dtype
                    assert torch.equal(found.masks, code.masks[:, part])
            for model, scale in zip(artifact.models, scales, strict=True):
                stored = artifact.scales(model, key)
                assert (stored is None) == (scale is None)
                if stored is not None and scale is not None:
                    torch.testing.assert_close(stored, scale, rtol=0, atol=0)
        for model, tune in tunes.items():
            exact = artifact.exact(model)
            assert set(exact.keys) == set(SHAPES) - set(wanted)
            for key in exact.keys:
                assert torch.equal(exact.read(key).view(-1), tune[key])


@pytest.mark.parametrize("name", ["mmer", "emr", "ternary", "dare"])
def test_memory_and_threads_change_no_byte(
    name: str, config: Config, tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_merge(config(**MERGES[name]), tmp_path / "plenty")
    run_merge(config(**MERGES[name], io={"max_memory": RUNTIME + 2000}), tmp_path / "little")
    torch.set_num_threads(3)
    run_merge(config(**MERGES[name]), tmp_path / "threads")
    assert contents(tmp_path / "plenty") == contents(tmp_path / "little") == contents(tmp_path / "threads")


@pytest.mark.parametrize("name", ["mmer", "ternary", "ties, each tensor", "emr"])
def test_a_merge_interrupted_anywhere_resumes_to_the_same_bytes(
    name: str, config: Config, tmp_path: Path, small_blocks: None
) -> None:
    settings = config(**MERGES[name], io={"shard": 300})
    calls = 0

    def count(done: int, total: int, what: str) -> None:
        nonlocal calls
        calls += 1

    run_merge(settings, tmp_path / "whole", advance=count)
    whole = contents(tmp_path / "whole")
    out = tmp_path / "out"
    for last in range(0, calls, 2 if name == "mmer" else 5):
        with pytest.raises(StoppedError):
            run_merge(settings, out, advance=stop_after(last))
        run_merge(settings, out)
        assert contents(out) == whole, last
        for path in sorted(out.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


def test_a_merge_interrupted_again_and_again_gets_on(config: Config, tmp_path: Path, small_blocks: None) -> None:
    settings = config(**MERGES["tall"])
    run_merge(settings, tmp_path / "whole")
    for _ in range(100):
        try:
            run_merge(settings, tmp_path / "out", advance=stop_after(8))
        except StoppedError:
            continue
        break
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("last", [3, 14, 20, 30, 34])
def test_a_killed_merge_resumes_to_the_same_bytes(
    last: int, config: Config, tmp_path: Path, small_blocks: None
) -> None:
    settings = config(**MERGES["optimal"])
    run_merge(settings, tmp_path / "whole")
    process = multiprocessing.get_context("fork").Process(target=die_after, args=(settings, tmp_path / "out", last))
    process.start()
    process.join()
    assert process.exitcode == 9
    run_merge(settings, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_without_resume_an_interrupted_merge_begins_again(config: Config, tmp_path: Path, small_blocks: None) -> None:
    told: list[str] = []
    with pytest.raises(StoppedError):
        run_merge(config(), tmp_path / "out", advance=stop_after(40))
    run_merge(config(io={"resume": False}), tmp_path / "out", advance=lambda done, total, what: told.append(what))
    run_merge(config(), tmp_path / "whole")
    assert told[0] == "Hashing the models"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_the_folder_holds_nothing_but_the_result(config: Config, tmp_path: Path) -> None:
    info = run_merge(config(io={"shard": 300}), tmp_path / "out")
    names = set(contents(tmp_path / "out"))
    assert {"manifest.json", "merge.json", "shared-00001.safetensors", "shared-00002.safetensors"} <= names
    assert {"exact-text.safetensors", "files/audio/tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".part", ".jsonl", "run.json"))]
    assert info["certificate"]["models"].keys() == {"text", "vision", "audio"}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["info"] == info


def test_shards_stay_below_their_size(config: Config, tmp_path: Path) -> None:
    run_merge(config(io={"shard": 500}), tmp_path / "out")
    for path in (tmp_path / "out").glob("shared-*"):
        header = json.loads(path.read_bytes()[8:].split(b"}}", 1)[0].rstrip() + b"}}")
        header.pop("__metadata__")
        sizes = [entry["data_offsets"][1] - entry["data_offsets"][0] for entry in header.values()]
        assert sum(sizes) <= 500 or len(sizes) == 1


def test_the_certificate_of_model_scales_is_that_of_scaled_deltas(
    config: Config, base: dict[str, Tensor], tunes: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    settings = config(**MERGES["emr"])
    figures = run_merge(settings, tmp_path / "out")["certificate"]["models"]
    wanted = expected(settings, base, list(tunes.values()))
    for i, (name, tune) in enumerate(tunes.items()):
        tau = torch.cat([(tune[key] - base[key]).flatten().double() for key in wanted])
        back = torch.cat([code.delta(i, scales[i]).flatten().double() for code, scales in wanted.values()])
        assert figures[name]["residual"] == pytest.approx(float((tau - back).square().sum() / tau.square().sum()), 1e-5)
        assert figures[name]["cosine"] == pytest.approx(float(tau @ back / tau.norm() / back.norm()), 1e-5)


def test_an_adapter_keeps_what_it_changes_of_exact_tensors(
    base_folder: Path,
    base: dict[str, Tensor],
    tunes: dict[str, dict[str, Tensor]],
    factors: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    (base_folder / "config.json").write_text('{"model_type": "llama"}')
    bias = {f"{Q.removesuffix('.weight')}.bias": torch.arange(8.0)}
    lora = write_adapter(tmp_path / "lora", factors | bias)
    models: dict[str, Path | dict[str, Any]] = {
        "text": write_checkpoint(tmp_path / "text", tunes["text"]),
        "lora": {"path": str(lora), "adapter": "lora"},
    }
    run_merge(config_of(base_folder, models, exclude_exact=[UP]), tmp_path / "out")
    with Artifact.open(tmp_path / "out") as artifact:
        exact = artifact.exact("lora")
        assert set(exact.keys) == {UP, *bias}
        delta = (
            2
            * factors[f"{UP.removesuffix('.weight')}.lora_B.weight"]
            @ factors[f"{UP.removesuffix('.weight')}.lora_A.weight"]
        )
        torch.testing.assert_close(exact.read(UP), base[UP] + delta)
        assert artifact.models["lora"].adapter == "lora"
        assert [path.name for path in artifact.files("lora")] == ["config.json"]


def test_encoders_and_further_rows_are_kept_byte_for_byte(
    base_folder: Path, base: dict[str, Tensor], tunes: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    embeddings = "model.embed_tokens.weight"
    longer = tunes["vision"] | {embeddings: torch.cat([tunes["vision"][embeddings], torch.ones(3, 8)])}
    stored = {f"llm.{key}": tensor for key, tensor in longer.items()}
    encoder = {"tower.odd": torch.arange(3, dtype=torch.uint8), "tower.weight": torch.randn(5, 4).bfloat16()}
    models: dict[str, Path | dict[str, Any]] = {
        "vision": {
            "path": str(write_checkpoint(tmp_path / "vision", stored | encoder, shards=2)),
            "llm_prefix": "llm.",
            "keep": ["tower"],
        },
        "text": write_checkpoint(tmp_path / "text", tunes["text"]),
    }
    run_merge(config_of(base_folder, models, io={"shard": 10}), tmp_path / "out")
    with Artifact.open(tmp_path / "out") as artifact:
        kept = artifact.kept("vision")
        assert kept.keys == ("tower.odd", "tower.weight")
        for name, tensor in encoder.items():
            assert b"".join(kept.raw(name)) == tensor.view(torch.uint8).numpy().tobytes()
        assert torch.equal(artifact.exact("vision").read(f"{embeddings}#rows"), torch.ones(3, 8))
        assert artifact.entries[embeddings].kind == "rows"
        assert artifact.stored_name("vision", embeddings) == f"llm.{embeddings}"
        assert artifact.stored_name("text", embeddings) == embeddings


def test_too_little_memory_is_refused(config: Config, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="so little memory") as caught:
        run_merge(config(io={"max_memory": "1M"}), tmp_path / "out")
    assert "1 MB" not in str(caught.value.expected)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_refused_before_work(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "disk_free", lambda folder: 1000)
    with pytest.raises(OutputError, match="too little free space") as caught:
        run_merge(config(), tmp_path / "out")
    assert "1 MB free" in str(caught.value.got)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["mmer", "ties, all kept", "optimal", "task_arithmetic"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused_by_name(
    name: str, value: float, config: Config, tunes: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    tunes["vision"][Q][3, 2] = value
    write_checkpoint(tmp_path / "vision", tunes["vision"])
    with pytest.raises(InputError, match=r"vision: .*q_proj\.weight"):
        run_merge(config(**MERGES[name]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_changes_meanwhile_is_refused(config: Config, tmp_path: Path) -> None:
    def touch(done: int, total: int, what: str) -> None:
        if what == "Merging":
            os.utime(tmp_path / "audio" / "model.safetensors", ns=(1, 1))

    with pytest.raises(InputError, match="changed while they were merged") as caught:
        run_merge(config(), tmp_path / "out", advance=touch)
    assert "models.audio/model.safetensors" in str(caught.value.got)


@pytest.mark.parametrize("change", ["input", "setting"])
def test_another_input_or_setting_does_not_resume(
    change: str, config: Config, tmp_path: Path, small_blocks: None
) -> None:
    with pytest.raises(StoppedError):
        run_merge(config(), tmp_path / "out", advance=stop_after(30))
    if change == "input":
        os.utime(tmp_path / "audio" / "model.safetensors", ns=(1, 1))
    settings: dict[str, Any] = {} if change == "input" else {"merge": {"method": "mmer", "trim": 0.5}}
    with pytest.raises(OutputError, match="other inputs or settings") as caught:
        run_merge(config(**settings), tmp_path / "out")
    assert ("models.audio/model.safetensors" if change == "input" else "merge") in str(caught.value.got)


def test_a_complete_folder_is_replaced_with_force_only(config: Config, tmp_path: Path) -> None:
    run_merge(config(), tmp_path / "out")
    with pytest.raises(OutputError, match="complete already"):
        run_merge(config(**MERGES["emr"]), tmp_path / "out")
    run_merge(config(**MERGES["emr"]), tmp_path / "out", force=True)
    run_merge(config(**MERGES["emr"]), tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def stop_after(calls: int) -> Callable[[int, int, str], None]:
    """An `advance` that raises once it was called so many times."""
    left = calls

    def advance(done: int, total: int, what: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise StoppedError

    return advance


def die_after(settings: MergeConfig, out: Path, calls: int) -> None:
    """A merge whose process ends at once, as by kill -9: nothing is flushed or cleaned up."""

    def advance(done: int, total: int, what: str) -> None:
        try:
            stop(done, total, what)
        except StoppedError:
            os._exit(9)

    stop = stop_after(calls)
    torch.set_num_threads(1)
    run_merge(settings, out, advance=advance)
