"""Masks within a number of bits: never more of them, never less faithful with more, and the best for what is spent."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.errors import InputError
from semi.merge import inventory, run
from semi.merge.artifact import Artifact
from semi.merge.budget import Costs, Limit, Spender, weigh
from semi.merge.codes import Code, MethodName, MethodSettings, encode
from semi.merge.config import MergeConfig
from semi.merge.run import run_merge
from semi.merge.scales import row_scales
from semi.merge.verify import verify
from tests.merge.conftest import write_checkpoint
from tests.merge.deltas import blocks, deltas
from tests.merge.merges import config_of, contents

METHODS: list[MethodName] = ["tall", "mmer", "optimal"]


def coded(tau: Tensor, method: MethodName) -> Code:
    rms = tau.double().square().mean((1, 2)).sqrt() if method == "optimal" else None
    return encode(tau, None, MethodSettings(method), rms)


def error(tau: Tensor, code: Code, *, scaled: bool) -> Tensor:
    """Of each row, float64 (N, rows)."""
    left = []
    for i, one in enumerate(tau):
        delta = code.delta(i)
        left.append((one - (delta * row_scales(one, delta)[:, None] if scaled else delta)).double().square().sum(1))
    return torch.stack(left)


def within(tau: Tensor, method: MethodName, most: int, parts: int = 1) -> tuple[Code, list[Limit]]:
    """The code of a block whose masks may take `most` bits a model, made in parts."""
    scaled, code = method == "optimal", coded(tau, method)
    costs = Costs(len(tau))
    costs.add(weigh(tau, code, scaled=scaled))
    limits = costs.limits(most)
    spent: list[int] | None = None
    for rows in torch.arange(tau.shape[1]).chunk(parts):
        spender = Spender(limits, spent, scaled=scaled)
        assert code.masks is not None
        part = Code(code.shared[rows], code.masks[:, rows])
        spender.spend(tau[:, rows].contiguous(), part)
        code.masks[:, rows] = part.masks  # type: ignore[assignment]
        spent = spender.spent
    return code, limits


def taken(code: Code) -> Tensor:
    """Bits of each model: of those rows that are neither all of the support nor empty."""
    assert code.masks is not None
    support = (code.shared != 0).sum(1)
    chosen = code.masks.sum(2)
    return (support * ((chosen > 0) & (chosen < support))).sum(1)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40)
@given(tau=blocks(), most=st.integers(0, 300))
def test_no_more_bits_are_taken_than_allowed(method: MethodName, tau: Tensor, most: int) -> None:
    code, _ = within(tau, method, most)
    assert int(taken(code).max()) <= most
    assert not code.masks[:, code.shared == 0].any()  # type: ignore[index]


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40)
@given(tau=blocks(), data=st.data())
def test_more_bits_never_leave_more(method: MethodName, tau: Tensor, data: st.DataObject) -> None:
    scaled = method == "optimal"
    sizes = sorted({0, *data.draw(st.lists(st.integers(0, 300), max_size=8)), 10**6})
    left = [error(tau, within(tau, method, most)[0], scaled=scaled) for most in sizes]
    for fewer, more in pairwise(left):
        assert (more <= fewer * (1 + 1e-6) + 1e-12).all()
    rule = error(tau, coded(tau, method), scaled=scaled)
    assert (left[-1] <= rule * (1 + 1e-6) + 1e-12).all()


@pytest.mark.parametrize("method", ["tall", "mmer"])
@settings(max_examples=40)
@given(tau=blocks())
def test_with_bits_enough_the_masks_are_those_of_the_rule(method: MethodName, tau: Tensor) -> None:
    code, limits = within(tau, method, tau[0].numel())
    assert limits == [Limit(-1, 0)] * len(tau)
    assert torch.equal(code.masks, coded(tau, method).masks)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=20)
@given(tau=blocks(), most=st.integers(0, 200), parts=st.integers(2, 4))
def test_blocks_change_nothing(method: MethodName, tau: Tensor, most: int, parts: int) -> None:
    whole, _ = within(tau, method, most)
    assert torch.equal(whole.masks, within(tau, method, most, parts)[0].masks)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(4))
def test_no_choice_of_rows_with_as_many_bits_saves_more(method: MethodName, seed: int) -> None:
    """But for the order within 1 part in 128."""
    tau = deltas(2, 9, 30, seed=seed) * torch.linspace(0.2, 2, 9)[None, :, None]
    scaled, rule = method == "optimal", coded(tau, method)
    without, _ = within(tau, method, 0)
    plain, full = error(tau, without, scaled=scaled), error(tau, rule, scaled=scaled)
    support = (rule.shared != 0).sum(1)
    for most in (30, 80, 150):
        code, _ = within(tau, method, most)
        found, bits = error(tau, code, scaled=scaled), taken(code)
        for i in range(len(tau)):
            saved = float((plain[i] - found[i]).sum())
            best = max(
                sum(float(plain[i, r] - full[i, r]) for r in range(9) if chosen[r])
                for chosen in product((False, True), repeat=9)
                if sum(int(support[r]) for r in range(9) if chosen[r]) <= int(bits[i])
            )
            assert saved >= best * (1 - 1 / 64) - 1e-9


def test_rows_without_bits_get_what_is_nearer() -> None:
    shared = torch.ones(3, 4)
    tau = torch.stack([torch.full((4,), 0.9), torch.full((4,), 0.1), torch.tensor([1.0, 1.0, 0.0, 0.0])])[None]
    masks = torch.tensor([[1, 0, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0]], dtype=torch.bool)[None]
    rows = weigh(tau, Code(shared, masks), scaled=False)
    assert rows.ones.tolist() == [[True, False, False]]
    assert rows.saved[0, :2].tolist() == [-1, -1]
    assert float(rows.saved[0, 2]) == pytest.approx(0.5)
    assert rows.cost.tolist() == [[4, 4, 4]]


@pytest.fixture
def config(
    tmp_path: Path, base_folder: Path, base: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., MergeConfig]:
    """Of three wide fine-tunes, so that what is said about rows weighs little."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    key, draw = "model.wide.weight", torch.Generator().manual_seed(5)
    wide = base | {key: torch.randn(24, 200, generator=draw)}
    folders: dict[str, Path | dict[str, Any]] = {}
    for name in ("text", "vision", "audio"):
        tune = {k: tensor + 0.1 * torch.randn(tensor.shape, generator=draw) for k, tensor in wide.items()}
        folders[name] = write_checkpoint(tmp_path / name, tune)
    write_checkpoint(base_folder, wide)
    return lambda **settings: config_of(base_folder, folders, **settings)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("block", [2**22, 450])
def test_a_merge_keeps_to_its_bits_and_more_of_them_leave_less(
    method: str, block: int, config: Callable[..., MergeConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "BLOCK", block)
    monkeypatch.setattr(run, "BLOCK", block)
    plain = {} if method != "mmer" else {"trim": 1.0}
    before: dict[str, float] = {}
    for share in (0.15, 0.5, 0.999):
        settings = config(merge={"method": method} | plain, mask={"rule": "budget", "bits": share})
        info = run_merge(settings, out := tmp_path / str(share))
        with Artifact.open(out) as artifact:
            assert {codec for entry in artifact.entries.values() for codec in entry.masks.values()} <= {"rows", "ones"}
        for name, figures in info["certificate"]["models"].items():
            size = sum(payload(path) for path in out.glob(f"masks-{name}-*"))
            assert size * 8 <= share * info["certificate"]["entries"]
            assert size * 8 > (share if share < 0.9 else 0.85) * info["certificate"]["entries"] - 8 * 200
            assert figures["residual"] <= before.get(name, 1.0) + 1e-9
            assert figures["residual"] >= info["lossless"]["models"][name]["residual"] - 1e-9
            before[name] = figures["residual"]


@pytest.mark.parametrize("tau", ["bf16", "nf4"])
def test_a_merge_within_its_bits_is_what_it_says(
    tau: str, config: Callable[..., MergeConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "BLOCK", 450)
    monkeypatch.setattr(run, "BLOCK", 450)
    run_merge(config(merge={"method": "optimal", "tau": tau}, mask={"rule": "budget", "bits": 0.4}), tmp_path / "out")
    with Artifact.open(tmp_path / "out") as artifact:
        found = verify(artifact, models=True)
    assert found.fine, found.checks


def test_one_bit_an_entry_is_no_budget(config: Callable[..., MergeConfig], tmp_path: Path) -> None:
    run_merge(config(merge={"method": "tall"}), tmp_path / "rule")
    run_merge(config(merge={"method": "tall"}, mask={"rule": "budget", "bits": 1}), tmp_path / "budget")
    rule, budget = contents(tmp_path / "rule"), contents(tmp_path / "budget")
    assert {name for name in rule if rule[name] != budget[name]} == {"manifest.json"}


def test_an_interrupted_merge_spends_its_bits_once(
    config: Callable[..., MergeConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "BLOCK", 450)
    monkeypatch.setattr(run, "BLOCK", 450)
    monkeypatch.setattr(run, "SYNC", 0)
    settings = config(merge={"method": "optimal", "tau": "nf4"}, mask={"rule": "budget", "bits": 0.4})
    calls = 0

    def stop(done: int, total: int, what: str) -> None:
        nonlocal calls
        calls += 1
        if calls % 25 == 0:
            raise KeyboardInterrupt

    run_merge(settings, tmp_path / "whole")
    for _ in range(60):
        try:
            run_merge(settings, tmp_path / "out", advance=stop)
        except KeyboardInterrupt:
            continue
        break
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_so_few_bits_that_nothing_can_be_said_are_refused(config: Callable[..., MergeConfig], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not even suffice") as caught:
        run_merge(config(mask={"rule": "budget", "bits": 0.001}), tmp_path / "out")
    assert float(str(caught.value.expected).split()[0]) > 0.01
    assert not (tmp_path / "out").exists()


def payload(path: Path) -> int:
    """Bytes of a safetensors file without its header."""
    return path.stat().st_size - 8 - int.from_bytes(path.read_bytes()[:8], "little")
