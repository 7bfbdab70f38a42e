"""Running kernels where there may be no GPU."""

from __future__ import annotations

import pytest


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Kernels, never the reference, until a test says otherwise with `setenv`."""
    pytest.importorskip("triton")
    monkeypatch.setenv("SEMI_KERNELS", "triton")
    return monkeypatch
