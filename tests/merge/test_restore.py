from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from semi.errors import ArtifactError, InputError
from semi.merge import inventory, run
from semi.merge.codes import METHODS
from semi.merge.config import MergeConfig
from semi.merge.origin import base_folder, configuration, open_base
from semi.merge.restore import add, extra_rows, restore, restored_tensors
from semi.merge.run import run_merge
from tests.merge.llamas import EMBEDDINGS, EXTRA, NORM, TOWER, Merged, Q, merge_llamas

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory, write_lm: Write) -> Merged:
    return merge_llamas(tmp_path_factory.mktemp("merge"), write_lm)


def whole(merged: Merged, model: str, key: str) -> Tensor:
    with merged.open() as artifact, open_base(artifact) as base:
        return torch.cat([rows for _, rows in restore(artifact, base, model, key)])


def test_nothing_added_keeps_the_bits_of_the_base() -> None:
    base = torch.tensor([-0.0, 0.0, 1.0, -0.0])
    result = add(base, torch.tensor([0.0, -0.0, 2.0, 0.5]))
    assert result.tolist() == [0, 0, 3, 0.5]
    assert result.signbit().tolist() == [True, False, False, False]


@pytest.mark.parametrize("method", list(METHODS))
def test_restored_is_base_plus_scaled_masked_vector(tmp_path: Path, write_lm: Write, method: str) -> None:
    merged = merge_llamas(tmp_path, write_lm, method=method)
    with merged.open() as artifact, open_base(artifact) as base:
        for entry in artifact.of("merged", "rows"):
            codes = [code for _, code in artifact.code(entry.key)]
            shared = torch.cat([code.shared for code in codes]).double()
            for i, model in enumerate(artifact.models):
                masks = [code.masks[i].double() for code in codes if code.masks is not None]
                scales = artifact.scales(model, entry.key)
                delta = shared * (torch.cat(masks) if masks else 1)
                delta *= 1 if scales is None else scales.double()[:, None]
                rows = torch.cat([rows for _, rows in restore(artifact, base, model, entry.key)])
                torch.testing.assert_close(rows.double(), base.read(entry.key).double() + delta, rtol=0, atol=1e-6)


def test_one_model_and_all_entries_give_that_model_back(tmp_path: Path, write_lm: Write) -> None:
    merged = merge_llamas(tmp_path, write_lm)
    said = {"base_model": str(merged.base), "models": [{"name": "text", "path": str(tmp_path / "text")}]}
    run_merge(
        MergeConfig.model_validate(said | {"merge": {"method": "mmer", "trim": 1.0}}), out := tmp_path / "one.mmer"
    )
    one = Merged(out, merged.base, merged.tensors)
    torch.testing.assert_close(whole(one, "text", Q), merged.tensors["text"][Q], rtol=0, atol=1e-7)


def test_tensors_of_many_blocks(
    tmp_path: Path, write_lm: Write, merged: Merged, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (inventory, run):
        monkeypatch.setattr(module, "BLOCK", 100)  # three rows of 32 entries
    many = merge_llamas(tmp_path, write_lm)
    with many.open() as artifact, open_base(artifact) as base:
        blocks = [block for block, _ in restore(artifact, base, "vision", Q)]
    assert [(block.start, block.stop) for block in blocks][-2:] == [(27, 30), (30, 32)]
    for model in ("text", "vision"):
        # An adapter multiplied out in other blocks is rounded otherwise.
        torch.testing.assert_close(whole(many, model, Q), whole(merged, model, Q), rtol=0, atol=1e-6)


def test_minus_zero_stays_where_no_model_changes_it(merged: Merged) -> None:
    assert whole(merged, "vision", Q)[0, :4].signbit().all()


def test_rounded_once_to_the_data_type_of_the_base(tmp_path: Path, write_lm: Write) -> None:
    merged = merge_llamas(tmp_path, write_lm, method="optimal", dtype=torch.bfloat16)
    with merged.open() as artifact, open_base(artifact) as base:
        block, code = next(artifact.code(Q, ["text"]))
        scales = artifact.scales("text", Q)
        expected = add(base.read(Q), code.delta(0, scales)).bfloat16()
        [(found, rows)] = restore(artifact, base, "text", Q)
    assert found == block
    assert rows.dtype == torch.bfloat16
    assert torch.equal(rows, expected)


def test_all_tensors_under_the_names_of_the_model(merged: Merged) -> None:
    with merged.open() as artifact, open_base(artifact) as base:
        sources = {source.name: source for source in restored_tensors(artifact, base, "vision")}
        prefixed = {f"language_model.{key}" for key in artifact.entries}
        assert set(sources) == prefixed | set(TOWER)
        embeddings = sources[f"language_model.{EMBEDDINGS}"]
        assert embeddings.shape == (300 + EXTRA, 32)
        assert all(sum(map(len, source.pieces())) == source.nbytes for source in sources.values())
        for key, tensor in TOWER.items():
            assert b"".join(sources[key].pieces()) == tensor.numpy().tobytes()
        norm = b"".join(sources[f"language_model.{NORM}"].pieces())
        assert norm == merged.tensors["vision"][NORM].numpy().tobytes()
        own = extra_rows(artifact, "vision", EMBEDDINGS)
        assert own is not None
        assert torch.equal(own, merged.tensors["vision"][EMBEDDINGS][300:])
        assert extra_rows(artifact, "text", EMBEDDINGS) is None
        assert {source.name for source in restored_tensors(artifact, base, "lora")} == set(artifact.entries)


def test_an_unknown_model_or_tensor_is_refused(merged: Merged) -> None:
    with merged.open() as artifact, open_base(artifact) as base:
        with pytest.raises(InputError, match="no such model"):
            restored_tensors(artifact, base, "smell")
        with pytest.raises(InputError, match="no merged tensor"):
            list(restore(artifact, base, "text", NORM))


def test_the_configuration_comes_back(merged: Merged) -> None:
    with merged.open() as artifact:
        config = configuration(artifact)
    assert (config.merge.method, [model.name for model in config.models]) == ("mmer", ["text", "vision", "lora"])


@pytest.mark.parametrize("method", ["ties", "ternary", "emr"])
def test_the_configuration_of_every_rule_comes_back(tmp_path: Path, write_lm: Write, method: str) -> None:
    with merge_llamas(tmp_path, write_lm, method=method).open() as artifact:
        assert configuration(artifact).merge.method == method


def test_another_base_is_refused_by_name(tmp_path: Path, write_lm: Write, merged: Merged) -> None:
    other = merge_llamas(tmp_path / "other", write_lm, dtype=torch.bfloat16).base
    with merged.open() as artifact:
        with pytest.raises(ArtifactError, match="is not the base of") as caught:
            open_base(artifact, other)
        assert "another sha256" in str(caught.value)
        assert "BF16" in str(caught.value)
        with pytest.raises(ArtifactError, match="is not there") as caught:
            open_base(artifact, tmp_path / "nowhere")
        assert "--base" in str(caught.value)
        assert f"looked for a folder {tmp_path / 'nowhere'}" in str(caught.value)


def test_an_asset_that_was_not_fetched_is_a_base_that_is_not_there(
    tmp_path: Path, merged: Merged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path))
    with merged.open() as artifact:
        artifact.base = replace(artifact.base, id="smollm2-135m")
        with pytest.raises(ArtifactError, match="is not there") as caught:
            base_folder(artifact)
    assert "has not been fetched" in str(caught.value.got)


def test_a_base_of_other_tensors_is_refused_without_hashes(tmp_path: Path, merged: Merged) -> None:
    tensors = load_file(merged.base / "model.safetensors")
    tensors["more.weight"] = tensors.pop(NORM)
    save_file(tensors, tmp_path / "model.safetensors")
    with merged.open() as artifact, pytest.raises(ArtifactError) as caught:
        open_base(artifact, tmp_path, hashes=False)
    assert f"{NORM} is missing" in str(caught.value)
    assert "more.weight is not in the merge" in str(caught.value)
