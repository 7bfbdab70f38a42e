"""Distributions made on the spot: a dist-info folder and a module in a folder at the front of sys.path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from semi.artifacts import open_output, save_tensors, write_json
from semi.integration import Integration

Install = Callable[..., Path]

GOOD = """
    from semi.modality import Modality
    from semi.plugins import hookimpl

    class Thing(Modality):
        name = "thing"
        instruction = "Describe this thing."

        def encoder(self, name=None):
            raise NotImplementedError

    @hookimpl
    def semi_modality(name):
        return Thing() if name == "thing" else None
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def install(site: Path) -> Iterator[Install]:
    """install("fake-thing", offers=["thing"]) -> the plugin's module, forgotten by Python after the test."""
    modules: list[str] = []

    def write(
        distribution: str,
        *,
        offers: Sequence[str] = ("thing",),
        kind: str = "modalities",
        code: str = GOOD,
        requires: Sequence[str] = ("semi-llm>=0.1",),
        version: str = "1.0",
        entry_points: str | None = None,
    ) -> Path:
        module = distribution.replace("-", "_")
        modules.append(module)
        (site / f"{module}.py").write_text(dedent(code))
        metadata = site / f"{module}-{version}.dist-info"
        metadata.mkdir()
        wanted = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{wanted}")
        listed = f"[semi.{kind}]\n" + "".join(f"{offer} = {module}\n" for offer in offers)
        (metadata / "entry_points.txt").write_text(listed if entry_points is None else entry_points)
        importlib.invalidate_caches()
        return site / f"{module}.py"

    yield write
    for name in list(sys.modules):
        if name.partition(".")[0] in modules:
            del sys.modules[name]


@pytest.fixture
def toy() -> Callable[..., Path]:
    """toy(folder, modality="thing") -> a saved integration of that modality, complete but for its weights."""

    def write(folder: Path, *, modality: str) -> Path:
        record = {
            "modality": modality,
            "encoder": {"name": "", "id": f"{modality}/net@1"},
            "instruction": "Describe this.",
            "language_model": {"id": "none", "precision": "fp32", "sha256": ""},
            "foundation": "",
            "settings": {},
            "support_sha256": "",
            "metrics": {},
            "alignment": {"kind": "identity", "d_in": 4, "d_out": 4},
            "projector": {"d_in": 4, "d_hidden": 4, "d_lm": 4},
            "memory": [],
            "adapter": None,
        }
        with open_output(folder, kind=Integration.KIND, config={}) as output:
            write_json(output.path / Integration.FILES[0], record)
            save_tensors(output.path / Integration.FILES[1], {"memory.embeddings": torch.zeros(1, 4)})
            output.finish(Integration.FILES, {})
        return folder

    return write
