from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from semi.convert import convert_checkpoint, load_converted, load_reference_state, save_converted
from semi.errors import ArtifactError, InputError, OutputError

CASE = Path(__file__).parent / "data" / "parity" / "hypernetwork_two_heads.safetensors"
SETTINGS: dict[str, Any] = {"rank": 4, "alpha": 4.0, "n_tokens": 8, "n_heads": 2}


@pytest.fixture
def state() -> dict[str, Tensor]:
    with safe_open(CASE, "pt") as file:
        return {key[6:]: file.get_tensor(key) for key in file.keys() if key.startswith("state.")}  # noqa: SIM118


def test_a_pt_file_gives_what_its_state_gives(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "semi.pt")
    found, wanted = convert_checkpoint(tmp_path / "semi.pt", **SETTINGS), load_reference_state(state, **SETTINGS)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        for name, tensor in ours.state_dict().items():
            assert torch.equal(tensor, theirs.state_dict()[name])


def test_the_converted_modules_own_their_weights(state: dict[str, Tensor]) -> None:
    projector, _ = load_reference_state(state, **SETTINGS)
    before = projector(torch.ones(1, 24))
    state["projector.net.0.weight"].zero_()
    assert torch.equal(projector(torch.ones(1, 24)), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_checkpoints_are_read_into_float32(state: dict[str, Tensor], dtype: torch.dtype) -> None:
    projector, hypernetwork = load_reference_state({k: v.to(dtype) for k, v in state.items()}, **SETTINGS)
    assert {p.dtype for m in (projector, hypernetwork) for p in m.parameters()} == {torch.float32}


def test_every_missing_tensor_is_named(state: dict[str, Tensor]) -> None:
    for name in set(state) - {"hypernet.pos_encs.pe"}:
        with pytest.raises(ArtifactError) as refused:
            load_reference_state({k: v for k, v in state.items() if k != name}, **SETTINGS)
        assert name in str(refused.value)


def test_unknown_tensors_are_named(state: dict[str, Tensor]) -> None:
    with pytest.raises(ArtifactError) as refused:
        load_reference_state(state | {"hypernet.extra": torch.zeros(1)}, **SETTINGS)
    assert "hypernet.extra" in str(refused.value)


@pytest.mark.parametrize("fault", ["row", "axis", "nan", "dtype"])
def test_every_tensor_is_checked_and_named(state: dict[str, Tensor], fault: str) -> None:
    for name, tensor in state.items():
        bad = {
            "row": torch.cat([tensor, tensor[:1]]),
            "axis": tensor[None],
            "nan": torch.full_like(tensor, float("nan")),
            "dtype": tensor.long(),
        }[fault]
        with pytest.raises(ArtifactError) as refused:
            load_reference_state(state | {name: bad}, **SETTINGS)
        # One row more in a tensor that sets a size shows up in another that does not fit it.
        if fault != "row" or name.endswith("bias"):
            assert name in str(refused.value)


@pytest.mark.parametrize(
    ("change", "tensor"),
    [
        ({"rank": 3}, "hypernet.generators"),
        ({"rank": 8}, "hypernet.generators"),
        ({"n_tokens": 6}, "hypernet.pos_encs.pe"),
    ],
    ids=str,
)
def test_settings_that_the_shapes_contradict_are_refused(
    state: dict[str, Tensor], change: dict[str, Any], tensor: str
) -> None:
    with pytest.raises(ArtifactError, match=tensor) as refused:
        load_reference_state(state, **(SETTINGS | change))
    assert "do this" in str(refused.value)


@pytest.mark.parametrize(
    "change", [{"rank": 0}, {"alpha": 0.0}, {"alpha": float("nan")}, {"n_tokens": 0}, {"n_heads": 0}, {"n_heads": 5}]
)
def test_impossible_settings_are_refused(state: dict[str, Tensor], change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        load_reference_state(state, **(SETTINGS | change))


def test_another_position_table_is_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(ArtifactError, match="pos_encs"):
        load_reference_state(state | {"hypernet.pos_encs.pe": state["hypernet.pos_encs.pe"] * 2}, **SETTINGS)


class Payload:
    """Its unpickling would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    torch.save({"weight": Payload(tmp_path / "pwned")}, tmp_path / "evil.pt")
    with pytest.raises(ArtifactError, match=r"evil\.pt"):
        convert_checkpoint(tmp_path / "evil.pt", **SETTINGS)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn", b"\x80\x02."], ids=repr)
def test_files_that_are_no_checkpoints_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"bad\.pt"):
        convert_checkpoint(tmp_path / "bad.pt", **SETTINGS)


def test_truncated_checkpoints_are_refused_by_name(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        (tmp_path / "torn.pt").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ArtifactError, match=r"torn\.pt"):
            convert_checkpoint(tmp_path / "torn.pt", **SETTINGS)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {"a": torch.ones(1)}}, {}], ids=repr)
def test_other_contents_are_refused_by_name(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ArtifactError, match=r"other\.pt"):
        convert_checkpoint(tmp_path / "other.pt", **SETTINGS)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none\.pt"):
        convert_checkpoint(tmp_path / "none.pt", **SETTINGS)


def test_a_converted_folder_gives_the_same_modules(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "semi.pt")
    save_converted(tmp_path / "semi.pt", tmp_path / "out", **SETTINGS)
    for found, wanted in zip(load_converted(tmp_path / "out"), load_reference_state(state, **SETTINGS), strict=True):
        for name, tensor in wanted.state_dict().items():
            assert torch.equal(found.state_dict()[name], tensor)
    with pytest.raises(OutputError):
        save_converted(tmp_path / "semi.pt", tmp_path / "out", **(SETTINGS | {"alpha": 8.0}))


def test_a_checkpoint_that_does_not_fit_leaves_nothing_behind(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "semi.pt")
    with pytest.raises(ArtifactError):
        save_converted(tmp_path / "semi.pt", tmp_path / "out", **(SETTINGS | {"rank": 3}))
    assert not (tmp_path / "out").exists()


def test_a_converted_folder_that_was_changed_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "semi.pt")
    save_converted(tmp_path / "semi.pt", tmp_path / "out", **SETTINGS)
    weights = tmp_path / "out" / "projector.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(ArtifactError, match="projector"):
        load_converted(tmp_path / "out")
