"""`import semi` is light, and what it exports is what it promises."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import semi
from semi.pairs import Pair


def test_import_semi_loads_nothing_heavy():
    code = (
        "import semi, sys; print([name for name in ('torch', 'numpy', 'transformers', 'typer') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"


def test_exports():
    assert set(semi.__all__) <= set(dir(semi))
    assert semi.Pair is Pair
    assert semi.__version__ == version("semi-llm")
    with pytest.raises(AttributeError, match="no attribute 'Fundation'"):
        _ = semi.Fundation
