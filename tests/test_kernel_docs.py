"""The pages about kernels: programs run, figures are what the code computes, no public name is missing."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

import semi_kernels
from semi_kernels import NF4Weight
from semi_kernels.bench.cases import Case
from semi_kernels.bench.floors import floor
from semi_kernels.bench.hardware import H200

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "kernels.md"
PACKAGE = ROOT / "semi_kernels" / "README.md"
OPERATIONS = sorted(ROOT.glob("semi_kernels/*/README.md"))


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


def run(page: Path, names: dict[str, Any]) -> dict[str, Any]:
    """The programs of a page, one after the other, without those that need a package which is not here."""
    for block in blocks(page):
        if "bitsandbytes" not in block or find_spec("bitsandbytes"):
            exec(compile(block, page.name, "exec"), names)
    return names


@pytest.fixture(autouse=True)
def compiler() -> Iterator[None]:
    yield
    torch.compiler.reset()


@pytest.mark.filterwarnings("default")  # of bitsandbytes and transformers
def test_the_guide_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # needs no C++ compiler
    torch.manual_seed(0)
    found = run(GUIDE, {})
    model, ids = found["model"], found["ids"]
    assert found["B"].grad.abs().sum() > 0
    with torch.no_grad():
        found["B"].normal_()
        model.model.layers[1].mlp.down_proj.B.normal_()
        got = model(ids).logits
        assert torch.allclose(found["compiled"](ids).logits, got, atol=1e-5)
        for layer in model.model.layers:
            plain(layer.mlp, found)
        assert torch.allclose(model(ids).logits, got, atol=1e-5)


def plain(mlp: Any, found: dict[str, Any]) -> None:
    """The same layer of a model as one nn.Linear with the adapter merged."""
    down = mlp.down_proj
    own = isinstance(down, found["AdaptedLinear"])
    weight, A, B = (down.weight, down.A, down.B) if own else (found["weight"], found["A"], found["B"])
    mlp.down_proj = torch.nn.Linear(A.shape[0], B.shape[1], bias=False)
    mlp.down_proj.weight.copy_(weight.dequantize() + (A @ B).T)


def test_the_guide_replaces_a_layer_in_five_lines() -> None:
    assert len(blocks(GUIDE)[1].splitlines()) == 5


@pytest.mark.parametrize("page", [PACKAGE, *OPERATIONS], ids=lambda page: page.parent.name)
def test_programs_of_kernels_pages_run(page: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    x, W, A, B = (torch.randn(*shape, generator=generator) for shape in ((5, 64), (48, 64), (64, 4), (4, 48)))
    names = {"x": x, "weight": NF4Weight.from_float(W), "A": A, "B": B, "bias": torch.zeros(48), "scale": 0.5}
    if page.parent.name == "masked_linear":
        names |= {"tau": W / 10, "kept": W > 0, "scale": torch.ones(48)}
    assert len(run(page, names)) >= len(names)


def test_floors_of_the_page_are_those_that_bench_prints() -> None:
    page = (ROOT / "semi_kernels" / "fused_lora" / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) -> (\d+) \| (\w+) \| (.+) \|$", page, re.M)
    assert len(rows) >= 5
    for K, N, weight, figures in rows:
        for M, figure in zip((1, 64, 1024, 8192), figures.split(" | "), strict=True):
            case = Case("fused_lora", M, int(K), int(N), quantisation=weight)
            assert f"{floor(case, H200).us:.2f}" == figure, (K, N, weight, M)


def test_pages_say_whether_a_gpu_has_been_timed() -> None:
    environments = [json.loads(p.read_text("utf-8")) for p in ROOT.glob("benchmarks/results/gpu-*/environment.json")]
    measured = any(environment["gpu"] for environment in environments)
    for page in (GUIDE, PACKAGE):
        said = "timed on a GPU yet" in page.read_text("utf-8")
        assert said != measured, f"{page.name}: benchmarks/results has {'a' if measured else 'no'} GPU"


@pytest.mark.parametrize("name", semi_kernels.__all__)
def test_public_names_are_documented(name: str) -> None:
    assert f"`{name}`" in PACKAGE.read_text("utf-8"), f"{name} is missing in {PACKAGE}"
    found = getattr(semi_kernels, name)
    text = inspect.getdoc(found) or ""
    assert text
    assert "(" in text, f"{name}: no shape"
    if inspect.isfunction(found):
        assert "Raises:" in text, f"{name}: no errors"


def test_every_operation_has_a_page() -> None:
    folders = {p.parent.name for p in ROOT.glob("semi_kernels/*/kernel.py")} | {"projector_mlp"}
    assert folders == {page.parent.name for page in OPERATIONS}
