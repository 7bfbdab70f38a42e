from __future__ import annotations

import subprocess
import sys

import pytest

import semi.merge
from semi.merge.runtime import DecoupledModel


def test_the_model_is_at_hand_and_torch_is_not_loaded_for_nothing() -> None:
    code = "import sys, semi.merge; assert 'torch' not in sys.modules; semi.merge.DecoupledModel; import torch"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert semi.merge.DecoupledModel is DecoupledModel
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = semi.merge.Nothing
