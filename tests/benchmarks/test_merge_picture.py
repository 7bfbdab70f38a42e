"""The picture of a merge: what it holds, over a patch of one weight."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import merge_picture
from benchmarks.merge_picture import Look, draw, look, main, random_merges
from semi.errors import InputError
from semi.merge.artifact import Artifact

KEY = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def merges(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return dict(random_merges(tmp_path_factory.mktemp("merges")))


def test_a_look_is_the_patch_of_the_code(merges: dict[str, Path]) -> None:
    for method, folder in merges.items():
        found = look(folder, KEY, (3, 5), 20)
        with Artifact.open(folder) as artifact:
            [(_, code)] = artifact.code(KEY)
        assert torch.equal(found.shared, code.shared[3:23, 5:25])
        assert set(found.masks) == (set() if code.masks is None else set(merge_picture.NAMES))
        for i, mask in enumerate(found.masks.values()):
            assert code.masks is not None
            assert torch.equal(mask, code.masks[i, 3:23, 5:25].int())
        assert found.label == f"{method}, fp32"
    with pytest.raises(InputError, match="nothing lies in the patch"):
        look(folder, KEY, (9999, 0), 20)


def test_half_of_the_entries_change_and_the_best_code_loses_least(merges: dict[str, Path]) -> None:
    lost = {method: max(look(folder, None, (0, 0), 8).residuals.values()) for method, folder in merges.items()}
    assert lost["ternary"] < lost["optimal"] < min(lost[name] for name in lost if name not in ("ternary", "optimal"))
    with Artifact.open(merges["task_arithmetic"]) as artifact:
        [(_, shared)] = artifact.shared(KEY)
    nobody = (1 - merge_picture.CHANGED) ** len(merge_picture.NAMES)
    assert float((shared == 0).float().mean()) == pytest.approx(nobody, abs=0.02)


def test_pictures_of_merges_and_of_random_ones(
    merges: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    drawn: list[tuple[list[str], list[str], str]] = []

    def told(masked: list[Look], measured: list[Look], title: str) -> object:
        drawn.append(([one.label for one in masked], [one.label for one in measured], title))
        return draw(masked, measured, title)

    monkeypatch.setattr(merge_picture, "draw", told)
    named = [str(merges["ties"]), str(merges["ternary"])]
    for out in ("one.png", "again.png"):
        main([*named, "--tensor", KEY, "--size", "16", "--out", str(tmp_path / out)])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert drawn[0][:2] == (["ternary"], ["ties", "ternary"])
    monkeypatch.setattr(merge_picture, "random_merges", lambda folder: merges.items())
    main(["--out", str(tmp_path / "random.png")])
    assert drawn[-1][:2] == (list(merge_picture.SHOWN), list(merges))
    assert "no trained models" in drawn[-1][2]
