"""Statistics over the files are those of the whole deltas, and come back from JSON exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from semi.errors import InputError
from semi.merge import inventory as inventories
from semi.merge.config import MergeConfig
from semi.merge.inputs import open_inputs
from semi.merge.inventory import Inventory, take_inventory
from semi.merge.reading import DeltaReader, require_finite
from semi.merge.statistics import Statistics, passes, take_statistics
from tests.merge.conftest import write_checkpoint
from tests.merge.merges import MERGES, config_of


@contextmanager
def opened(config: MergeConfig) -> Iterator[Inventory]:
    with open_inputs(config) as inputs:
        yield take_inventory(inputs.base, inputs.models, config)


@pytest.fixture
def folders(tmp_path: Path, tunes: dict[str, dict[str, Tensor]]) -> dict[str, Path]:
    return {name: write_checkpoint(tmp_path / name, tensors) for name, tensors in tunes.items()}


@pytest.mark.parametrize("scope", ["global", "tensor"])
def test_thresholds_are_those_of_topk(
    scope: str,
    folders: dict[str, Path],
    base_folder: Path,
    base: dict[str, Tensor],
    tunes: dict[str, dict[str, Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inventories, "BLOCK", 40)
    config = config_of(base_folder, folders, merge={"method": "ties", "trim": 0.25, "trim_scope": scope})
    with opened(config) as inventory:
        found = take_statistics(inventory, config, DeltaReader(inventory, ahead=True, told=lambda count: None))
    assert found.trims_tensors == (scope == "tensor")
    for i, tune in enumerate(tunes.values()):
        taus = {key: (tune[key] - base[key]).abs().flatten() for key in sorted(base) if base[key].ndim == 2}
        for key, tau in taus.items():
            whole = torch.cat(list(taus.values())) if scope == "global" else tau
            thresholds = found.thresholds_of(key)
            assert thresholds is not None
            assert thresholds[i].magnitude == whole.topk(round(0.25 * len(whole))).values.min()


def test_rms_is_that_of_float64(
    folders: dict[str, Path], base_folder: Path, base: dict[str, Tensor], tunes: dict[str, dict[str, Tensor]]
) -> None:
    config = config_of(base_folder, folders, merge={"method": "optimal"})
    with opened(config) as inventory:
        found = take_statistics(inventory, config, DeltaReader(inventory, ahead=False, told=lambda count: None))
    for key in (key for key in base if base[key].ndim == 2):
        expected = [float((tune[key] - base[key]).double().square().mean().sqrt()) for tune in tunes.values()]
        rms = found.rms_of(key)
        assert rms is not None
        assert rms.tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", MERGES)
def test_they_come_back_from_json_and_take_the_passes_they_say(
    name: str, folders: dict[str, Path], base_folder: Path
) -> None:
    config = config_of(base_folder, folders, **MERGES[name])
    read = 0

    def told(count: int) -> None:
        nonlocal read
        read += count

    with opened(config) as inventory:
        found = take_statistics(inventory, config, DeltaReader(inventory, ahead=True, told=told))
        times = 1 if found.trims_tensors else passes(config)  # which are of one block each
        assert read == times * inventory.sizes(config).read
    again = Statistics.restore(json.loads(json.dumps(found.state())))
    assert again.state() == found.state()
    assert again.trims_tensors == found.trims_tensors


def test_deltas_come_in_order_and_as_they_are_read_alone(folders: dict[str, Path], base_folder: Path) -> None:
    with opened(config_of(base_folder, folders)) as inventory:
        alone = [(block, inventory.deltas(block).clone()) for block in inventory.blocks()]
        for ahead in (False, True):
            reader = DeltaReader(inventory, ahead=ahead, told=lambda count: None)
            for times in range(2):
                together = [(block, tau.clone()) for block, tau in reader.read(inventory.blocks())]
                assert [block for block, _ in together] == [block for block, _ in alone], times
                assert all(torch.equal(x, y) for (_, x), (_, y) in zip(together, alone, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_counted_and_named(value: float) -> None:
    tau = torch.ones(3, 4)
    require_finite(tau, "vision", "q")
    tau[1, 2] = tau[2, 0] = value
    with pytest.raises(InputError, match="vision: q or the base's") as caught:
        require_finite(tau, "vision", "q")
    assert caught.value.got == "2 of 12 differences"
