"""Outputs and workspaces start as NaN, and kernels compute, not the reference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from semi_kernels.dispatch import has_triton

collect_ignore = [] if has_triton() else ["test_products.py", "test_groups.py"]


@pytest.fixture(autouse=True)
def poisoned_outputs() -> Iterator[None]:
    """`torch.empty` gives NaN, so that what is left unwritten shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Triton is, never the reference, unless a test says so."""
    if has_triton():
        monkeypatch.setenv("SEMI_KERNELS", "triton")
