from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from semi.artifacts import read_manifest
from semi.errors import ArtifactError, InputError, OutputError
from semi.merge import inventory, plan, run
from semi.merge import newcomer as newcomer_module
from semi.merge.adding import add_model
from semi.merge.artifact import Artifact
from semi.merge.codes import METHODS, masks_on
from semi.merge.export import export
from semi.merge.inventory import Inventory
from semi.merge.origin import configuration, open_base
from semi.merge.plan import RUNTIME
from semi.merge.reading import DeltaReader
from semi.merge.removing import remove_model
from semi.merge.restore import deltas, restore
from semi.merge.runtime import DecoupledModel
from semi.merge.scales import emr_scales, emr_totals, row_scales
from semi.merge.verify import verify
from semi.quantised import QuantisedLinear
from semi_kernels import NF4Weight
from tests.merge.conftest import write_checkpoint
from tests.merge.llamas import EMBEDDINGS, Merged, Q, merge_llamas
from tests.merge.merges import contents
from tests.merge.newcomers import ENCODER, NEW, newcomer

Write = Callable[..., Path]
NAMES = ("text", "vision", "lora")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny tensors: threads would wait for one another, and all for a disk that loses no power."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory, write_lm: Write) -> Merged:
    return merge_llamas(tmp_path_factory.mktemp("merge"), write_lm)


@pytest.fixture(scope="module")
def added(merged: Merged, tmp_path_factory: pytest.TempPathFactory) -> Merged:
    """The merge with the newcomer, elsewhere."""
    folder = tmp_path_factory.mktemp("added")
    config, tensors = newcomer(merged, folder / NEW)
    add_model(merged.folder, config, out := folder / "added.mmer")
    return Merged(out, merged.base, {**merged.tensors, NEW: tensors})


def exported(artifact: Path, name: str, out: Path) -> dict[str, bytes]:
    with Artifact.open(artifact) as opened:
        export(opened, name, out)
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != "manifest.json"}


def sparsest(left: Tensor, share: float) -> Tensor:
    """The largest entries, by sorting."""
    kept = torch.zeros(left.numel())
    kept[left.abs().flatten().argsort(descending=True)[: round(share * left.numel())]] = 1
    return left * kept.view(left.shape)


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("values", ["fp32", "bf16"])
def test_a_mask_on_the_old_vector_its_scale_and_a_residual(
    method: str, values: str, tmp_path: Path, write_lm: Write
) -> None:
    merged = merge_llamas(tmp_path, write_lm, method=method)
    config, tensors = newcomer(merged, tmp_path / NEW, residual=0.1, values=values)
    old = contents(merged.folder)
    told = add_model(merged.folder, config)
    now = contents(merged.folder)
    assert {name for name in old if now[name] != old[name]} == {"manifest.json", "merge.json"}
    with merged.open() as artifact, open_base(artifact) as base:
        keys = [entry.key for entry in artifact.of("merged", "rows")]
        codes = {key: next(code for _, code in artifact.code(key)) for key in keys}
        taus = {key: tensors[key][: base.info(key).rows] - base.read(key) for key in keys}
        given = {}
        totals = torch.zeros(1, 2).double()
        for key in keys:
            own = METHODS[method]  # type: ignore[index]
            rms = taus[key].double().square().mean().sqrt().view(1) if own.normalised else None
            if own.mask:
                mask = masks_on(taus[key][None], codes[key].shared, torch.ones(1), rms, own.mask)
                assert torch.equal(codes[key].masks[-1], mask[0])  # type: ignore[index]
            given[key] = codes[key].delta(-1)
            totals += emr_totals(taus[key][None], type(codes[key])(given[key], None))
        for key in keys:
            scale = {"none": 1, "row": row_scales(taus[key], given[key])[:, None], "model": emr_scales(totals)}
            given[key] = given[key] * scale[artifact.scale]
        left = torch.cat([(taus[key] - given[key]).flatten() for key in keys])
        residual = sparsest(left, 0.1)
        if values == "bf16":
            residual = residual.bfloat16().float()
        for key, part in zip(keys, residual.split([taus[key].numel() for key in keys]), strict=True):
            [(_, [found])] = deltas(artifact, key, [NEW])
            torch.testing.assert_close(found, given[key] + part.view(found.shape), rtol=1e-5, atol=1e-7)
        figures = artifact.manifest["info"]["certificate"]["models"][NEW]
        assert told["figures"] == figures
        whole = torch.cat([taus[key].flatten() for key in keys]).double()
        assert figures["residual"] == pytest.approx(
            float((left - residual).double().square().sum() / whole.square().sum()), 1e-3
        )
        found = verify(artifact, models=True)
        failed = {check.name: check.found for check in found.checks if check.state == "failed"}
        assert failed.keys() <= {"residual"}, failed
    remove_model(merged.folder, NEW)
    assert contents(merged.folder) == old


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"merge": {"method": "mmer", "tau": "nf4"}}, []),
        ({"merge": {"method": "optimal", "tau": "bf16"}}, []),
        ({"mask": {"rule": "budget", "bits": 0.5}}, ["imu: its mask is by the rule tall"]),
    ],
    ids=["nf4", "bf16", "budget"],
)
def test_merges_that_lose_something(settings: dict[str, Any], says: list[str], tmp_path: Path, write_lm: Write) -> None:
    merged = merge_llamas(tmp_path, write_lm, **settings)
    old = contents(merged.folder)
    config, _ = newcomer(merged, tmp_path / NEW)
    notes = add_model(merged.folder, config)["notes"]
    assert [note.split(";")[0] for note in notes] == says
    with merged.open() as artifact:
        assert verify(artifact, models=True).fine
    remove_model(merged.folder, NEW)
    assert contents(merged.folder) == old


def test_a_full_disk_is_refused_before_work(merged: Merged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "disk_free", lambda folder: 1000)
    config, _ = newcomer(merged, tmp_path / NEW)
    with pytest.raises(OutputError, match="too little free space"):
        add_model(merged.folder, config, tmp_path / "out.mmer")
    assert not (tmp_path / "out.mmer").exists()


@pytest.mark.parametrize("method", ["mmer", "emr", "ternary"])
def test_memory_changes_no_byte(method: str, tmp_path: Path, write_lm: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "BLOCK", 500)
    monkeypatch.setattr(run, "BLOCK", 500)
    merged = merge_llamas(tmp_path, write_lm, method=method)
    config, _ = newcomer(merged, tmp_path / NEW)
    ahead: list[bool] = []
    reader = newcomer_module.DeltaReader

    def told(own: Inventory, **how: Any) -> DeltaReader:
        ahead.append(how["ahead"])
        return reader(own, **how)

    monkeypatch.setattr(newcomer_module, "DeltaReader", told)
    for name, memory in (("plenty", 512 << 20), ("little", RUNTIME + 30_000)):
        add_model(merged.folder, config.model_copy(update={"max_memory": memory}), tmp_path / name)
    assert contents(tmp_path / "plenty") == contents(tmp_path / "little")
    assert ahead == sorted(ahead, reverse=True)
    assert set(ahead) == {True, False}


@torch.no_grad()
def test_the_other_models_come_back_bit_for_bit(merged: Merged, added: Merged, tmp_path: Path) -> None:
    for name in NAMES:
        old = exported(merged.folder, name, tmp_path / f"old-{name}")
        assert exported(added.folder, name, tmp_path / f"new-{name}") == old
    ids = torch.randint(300, (2, 7), generator=torch.Generator().manual_seed(0))
    for policy in ("base", "merged", "mean", "union"):
        before = DecoupledModel.load(merged.folder, text_policy=policy)  # type: ignore[arg-type]
        after = DecoupledModel.load(added.folder, text_policy=policy)  # type: ignore[arg-type]
        for modality in (*NAMES, None):
            assert torch.equal(before.use(modality)(ids).logits, after.use(modality)(ids).logits)
        mixed = torch.tensor([[0, 0, 1, -1, 2, 2, 1]]).expand(2, 7)
        assert torch.equal(before(ids, mixed).logits, after(ids, mixed).logits)


@torch.no_grad()
def test_the_model_runs_as_it_is_exported(added: Merged, tmp_path: Path) -> None:
    with added.open() as artifact:
        export(artifact, NEW, tmp_path / "out")
        base = open_base(artifact)
        with base:
            rows = {key: torch.cat([r for _, r in restore(artifact, base, NEW, key)]) for key in (Q, EMBEDDINGS)}
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(tensors[f"llm.{Q}"], rows[Q])
    assert tensors[f"llm.{EMBEDDINGS}"].shape[0] == 301
    assert torch.equal(tensors["encoder.weight"], ENCODER["encoder.weight"])
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    own = {key.removeprefix("llm."): tensor for key, tensor in tensors.items() if key.startswith("llm.")}
    alone = write_checkpoint(tmp_path / "alone", own, config=config)
    ids = torch.tensor([[5, 300, 7]])
    expected = AutoModelForCausalLM.from_pretrained(alone)(ids).logits
    model = DecoupledModel.load(added.folder)
    torch.testing.assert_close(model.use(NEW)(ids).logits, expected, rtol=0, atol=1e-5)
    packed, dense = DecoupledModel.load(added.folder, precision="nf4"), DecoupledModel.load(added.folder)
    for name, layer in packed.model.named_modules():
        if isinstance(layer, QuantisedLinear):  # the dense base, rounded to what 4 bits hold
            parameter = dense.model.get_parameter(f"{name}.weight")
            parameter.data = NF4Weight.from_float(parameter.data).dequantize()
    torch.testing.assert_close(packed.use(NEW)(ids).logits, dense.use(NEW)(ids).logits, rtol=0, atol=1e-4)


def test_everything_as_a_residual_is_the_model_itself(merged: Merged, tmp_path: Path) -> None:
    config, tensors = newcomer(merged, tmp_path / NEW, residual=1)
    for force in (False, True):
        found = add_model(merged.folder, config, tmp_path / "out.mmer", force=force)
    with Artifact.open(tmp_path / "out.mmer") as artifact, open_base(artifact) as base:
        [(_, rows)] = restore(artifact, base, NEW, Q)
        torch.testing.assert_close(rows, tensors[Q], rtol=0, atol=1e-7)
        sizes = [(artifact.folder / name).stat().st_size for name in artifact.own_files(NEW)]
    assert found["bytes"] == sum(sizes)


def test_no_residual(merged: Merged, tmp_path: Path) -> None:
    config, _ = newcomer(merged, tmp_path / NEW, residual=0)
    figures = add_model(merged.folder, config, tmp_path / "out.mmer")["figures"]
    with Artifact.open(tmp_path / "out.mmer") as artifact:
        assert artifact.residual(NEW, Q) is None
        assert not [path for path in artifact.own_files(NEW) if path.startswith("residual")]
    more, _ = newcomer(merged, tmp_path / NEW)
    assert add_model(merged.folder, more, tmp_path / "more.mmer")["figures"]["residual"] < figures["residual"]


def test_what_the_merge_says_of_it(merged: Merged, added: Merged) -> None:
    with added.open() as artifact:
        assert list(artifact.models) == [*NAMES, NEW]
        assert artifact.merged == 3
        assert artifact.models[NEW].added is not None
        assert artifact.models["text"].added is None
        assert artifact.summary()["added"] == [NEW]
        assert artifact.kept(NEW).keys == ("encoder.weight",)
        assert [model.name for model in configuration(artifact).models] == [*NAMES, NEW]
        certificate = artifact.manifest["info"]["certificate"]
    before = read_manifest(merged.folder, "merge")["info"]["certificate"]
    assert certificate["sign_conflict"] == before["sign_conflict"]
    assert certificate["mask_overlap"]["text"]["vision"] == before["mask_overlap"]["text"]["vision"]
    assert certificate["mask_overlap"]["text"][NEW] == certificate["mask_overlap"][NEW]["text"]


def test_two_are_added_and_removed_in_any_order(merged: Merged, tmp_path: Path) -> None:
    first, _ = newcomer(merged, tmp_path / "one")
    second, _ = newcomer(merged, tmp_path / "two", name="radar", residual=0.5, **{"lambda": 2.0})
    one, both = tmp_path / "one.mmer", tmp_path / "both.mmer"
    add_model(merged.folder, first, one)
    add_model(one, second, both)
    with Artifact.open(both) as artifact:
        assert verify(artifact, models=True).fine
    remove_model(both, "radar", tmp_path / "again.mmer")
    assert contents(tmp_path / "again.mmer") == contents(one)
    remove_model(both, NEW)
    remove_model(both, "radar")
    assert contents(both) == contents(merged.folder)


def test_one_of_the_first_is_removed(merged: Merged, added: Merged, tmp_path: Path) -> None:
    out = tmp_path / "out.mmer"
    assert remove_model(added.folder, "vision", out)
    for name in ("text", "lora", NEW):
        assert exported(out, name, tmp_path / name) == exported(added.folder, name, tmp_path / f"old-{name}")
    with Artifact.open(out) as artifact:
        assert artifact.removed == ("vision",)
        assert artifact.summary()["removed"] == ["vision"]
        assert verify(artifact, models=True).fine
        assert not [name for name in artifact.manifest["files"] if "vision" in name]
    assert DecoupledModel.load(out, text_policy="mean").modalities == ("text", "lora", NEW)
    remove_model(out, "text")
    remove_model(out, "lora")
    with Artifact.open(out) as artifact:
        assert artifact.merged == 0
        assert verify(artifact, models=True).fine
    DecoupledModel.load(out, text_policy="mean")(torch.tensor([[1, 2]]))
    with pytest.raises(InputError, match="is all that"):
        remove_model(out, NEW)


def test_wrong_additions_are_refused_and_change_nothing(merged: Merged, tmp_path: Path, write_lm: Write) -> None:
    config, _ = newcomer(merged, tmp_path / NEW)
    before = contents(merged.folder)

    def refused(match: str, error: type[Exception], change: dict[str, Any], **how: Any) -> None:
        with pytest.raises(error, match=match):
            add_model(merged.folder, config.model_copy(update=change), **how)
        assert contents(merged.folder) == before
        assert not list(merged.folder.parent.glob("*.new"))

    refused("has a model text already", InputError, {"name": "text"})
    refused("do not fit their base", ArtifactError, {"keep": ()})
    refused("so little memory", InputError, {"max_memory": 1 << 20})
    refused("there is no folder", ArtifactError, {"path": str(tmp_path / "nowhere")})
    refused("is not the base of", ArtifactError, {}, base=write_lm(tmp_path / "other", width=48))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("")
    refused("was not made by semi", OutputError, {}, out=tmp_path / "taken")
    with pytest.raises(InputError, match="holds no such model"):
        remove_model(merged.folder, NEW)


def test_what_is_not_finite_is_refused(merged: Merged, tmp_path: Path) -> None:
    config, _ = newcomer(merged, tmp_path / NEW)
    tensors = load_file(tmp_path / NEW / "model.safetensors")
    tensors[f"llm.{Q}"][0, 0] = torch.nan
    save_file(tensors, tmp_path / NEW / "model.safetensors")
    with pytest.raises(InputError, match=rf"{NEW}: {Q}"):
        add_model(merged.folder, config, tmp_path / "out.mmer")
    assert not (tmp_path / "out.mmer").exists()


def test_a_damaged_merge_is_not_blessed(merged: Merged, tmp_path: Path) -> None:
    shutil.copytree(merged.folder, copy := tmp_path / "copy.mmer")
    config, _ = newcomer(merged, tmp_path / NEW)
    path = copy / "shared-00001.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for change in (lambda: add_model(copy, config), lambda: remove_model(copy, "text")):
        with pytest.raises(ArtifactError, match="another sha256"):
            change()


def test_an_interrupted_addition_leaves_the_merge_as_it_was(merged: Merged, tmp_path: Path) -> None:
    config, _ = newcomer(merged, tmp_path / NEW)
    before = contents(merged.folder)
    stages: list[str] = []
    add_model(merged.folder, config, tmp_path / "whole.mmer", advance=lambda done, total, what: stages.append(what))
    assert len(set(stages)) == 6
    for stage in dict.fromkeys(stages):

        def interrupt(done: int, total: int, what: str, last: str = stage) -> None:
            if what == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            add_model(merged.folder, config, advance=interrupt)
        assert contents(merged.folder) == before
    assert [path.name for path in merged.folder.parent.glob("merged*")] == ["merged.mmer"]


@pytest.mark.parametrize("links", [True, False])
def test_an_interrupted_addition_to_elsewhere_goes_on(
    links: bool, merged: Merged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    config, _ = newcomer(merged, tmp_path / NEW)
    add_model(merged.folder, config, tmp_path / "whole.mmer")

    def interrupt(done: int, total: int, what: str) -> None:
        if what == "Hashing the result":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_model(merged.folder, config, out := tmp_path / "out.mmer", advance=interrupt)
    add_model(merged.folder, config, out)
    assert contents(out) == contents(tmp_path / "whole.mmer")
