"""A saved integration of `vectors`: three places in a space of four channels, each with a name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from semi.foundation import Foundation
from semi.pairs import Pair

PLACES = {"left": [-1.0, 0.0, 0.0, 0.0], "right": [1.0, 0.0, 0.0, 0.0], "up": [0.0, 0.0, 1.0, 0.0]}


@pytest.fixture(scope="session")
def integration_folder(foundation_folder: Path, tiny_text_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    g = np.random.default_rng(0)
    pairs = [
        Pair((np.array(place) + 0.1 * g.normal(size=4)).tolist(), name)
        for name, place in PLACES.items()
        for _ in "1234"
    ]
    out = tmp_path_factory.mktemp("session") / "vectors"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tiny_text_site)
        foundation = Foundation.load(foundation_folder, device="cpu")
        foundation.adapt("vectors", pairs, out=out, steps=0, diagnose=False)
    return out
