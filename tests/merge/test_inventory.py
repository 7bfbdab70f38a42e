from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.errors import ArtifactError, InputError
from semi.merge import inventory as module
from semi.merge.checkpoint import Checkpoint
from semi.merge.config import MergeConfig
from semi.merge.inventory import Block, Inventory, take_inventory
from semi.merge.lora import LoraAdapter
from tests.merge.conftest import DOWN, SHAPES, UP, Q, random_base, write_adapter, write_checkpoint

EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"
Tensors = dict[str, Tensor]


def configure(names: Mapping[str, Any], **changes: Any) -> MergeConfig:
    models = [{"name": name, "path": name} | settings for name, settings in names.items()]
    return MergeConfig.model_validate({"base_model": "base", "models": models, "merge": {"method": "mmer"}} | changes)


@contextmanager
def taken(
    folder: Path, base: Tensors, models: Mapping[str, Tensors | Path], each: Any = None, **changes: Any
) -> Iterator[Inventory]:
    """The inventory of tensors written to `folder`; a path is that of an adapter, `each` the settings by name."""
    config = configure({name: (each or {}).get(name, {}) for name in models}, **changes)
    with ExitStack() as stack:
        opened: dict[str, Any] = {}
        for model in config.models:
            held = models[model.name]
            if isinstance(held, Path):
                opened[model.name] = LoraAdapter.open(held, model.llm_prefix)
            else:
                opened[model.name] = Checkpoint.open(write_checkpoint(folder / model.name, held), model.llm_prefix)
            stack.enter_context(opened[model.name])
        root = stack.enter_context(Checkpoint.open(write_checkpoint(folder / "base-", base)))
        yield take_inventory(root, opened, config)


def kinds(inventory: Inventory) -> dict[str, str]:
    return {key: entry.kind for key, entry in inventory.entries.items()}


def test_every_key_is_in_one_class(tmp_path: Path, base: Tensors, tunes: dict[str, Tensors], lora_folder: Path) -> None:
    tunes["vision"] |= {"tower.conv.weight": torch.ones(2, 2, 2, 2), "tower.ids": torch.arange(3)}
    models: dict[str, Tensors | Path] = {**tunes, "lora": lora_folder}
    with taken(tmp_path, base, models, {"vision": {"keep": ["tower"]}}) as inventory:
        exact = {"model.norm.weight", "model.layers.0.self_attn.q_proj.bias"}
        assert kinds(inventory) == {key: "exact" if key in exact else "merged" for key in sorted(SHAPES)}
        assert list(inventory.entries) == sorted(SHAPES)
        assert inventory.kept == {"text": (), "vision": ("tower.conv.weight", "tower.ids"), "audio": (), "lora": ()}
        assert not inventory.notes
        for name, model in inventory.models.items():
            placed = {entry.names[name] for entry in inventory.entries.values() if name in entry.names}
            assert placed.isdisjoint(inventory.kept[name])
            assert placed | set(inventory.kept[name]) == set(model.keys)


def test_patterns_keep_matrices_exact(tmp_path: Path, base: Tensors, tunes: dict[str, Tensors]) -> None:
    with taken(tmp_path, base, tunes, exclude_exact=["*.mlp.*", "lm_head*"]) as inventory:
        assert {key for key, kind in kinds(inventory).items() if kind == "merged"} == {EMBEDDINGS, Q}


def test_deltas_are_those_of_float32(
    tmp_path: Path, base: Tensors, tunes: dict[str, Tensors], factors: Tensors, lora_folder: Path
) -> None:
    tunes["audio"] = {key: tensor.bfloat16() for key, tensor in tunes["audio"].items()}
    with taken(tmp_path, base, {**tunes, "lora": lora_folder}) as inventory:
        assert inventory.notes == (f"audio: {len(SHAPES)} tensors are BF16, in the base F32",)
        workspace = inventory.workspace().fill_(torch.nan)
        for block in inventory.blocks():
            deltas = inventory.deltas(block, workspace)
            assert torch.equal(deltas, inventory.deltas(block))
            for name, wanted in zip(inventory.models, deltas, strict=True):
                delta, of_base = inventory.delta(name, block)
                assert torch.equal(delta, wanted)
                assert torch.equal(of_base, base[block.key][block.start : block.stop])
            rows = slice(block.start, block.stop)
            for delta, tune in zip(deltas, tunes.values(), strict=False):
                assert torch.equal(delta, (tune[block.key].float() - base[block.key])[rows])
            name = block.key.removesuffix(".weight")
            change = torch.zeros(SHAPES[block.key])
            if block.key in (Q, UP):
                change = 2 * factors[f"{name}.lora_B.weight"] @ factors[f"{name}.lora_A.weight"]
            torch.testing.assert_close(deltas[-1], change[rows])


def test_an_adapter_on_a_replaced_tensor_counts_both(tmp_path: Path, base: Tensors) -> None:
    a, b, own = torch.randn(2, 8), torch.randn(11, 2), torch.randn(11, 8)
    name = HEAD.removesuffix(".weight")
    tensors = {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b, f"{name}.base_layer.weight": own}
    adapter = write_adapter(tmp_path / "l", tensors | {DOWN: base[DOWN] + 1})
    with taken(tmp_path, base, {"l": adapter}) as inventory:
        found = {block.key: inventory.deltas(block)[0] for block in inventory.blocks()}
    torch.testing.assert_close(found[HEAD], own + 2 * b @ a - base[HEAD])
    torch.testing.assert_close(found[DOWN], torch.ones(8, 12))
    assert not found[Q].any()


@settings(max_examples=20)
@given(size=st.integers(1, 100))
def test_blocks_are_whole_rows_of_every_merged_tensor_in_order(
    tmp_path_factory: pytest.TempPathFactory, size: int
) -> None:
    base = random_base() | {"model.conv.weight": torch.randn(3, 2, 2, 2), "model.empty.weight": torch.empty(0, 4)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", size)
        with taken(tmp_path_factory.mktemp("m"), base, {"a": base}) as inventory:
            blocks = list(inventory.blocks())
            merged = [entry.key for entry in inventory.of("merged", "rows")]
            assert inventory.workspace().numel() == 2 * max(inventory.deltas(block).numel() for block in blocks)
    assert blocks == sorted(blocks, key=lambda block: (block.key, block.start))
    for key in merged:
        own = [block for block in blocks if block.key == key]
        rows = base[key].shape[0]
        assert [row for block in own for row in range(block.start, block.stop)] == list(range(rows))
        columns = base[key].numel() // max(1, rows)
        assert all(block.stop - block.start == 1 or (block.stop - block.start) * columns <= size for block in own)


def test_further_tokens_are_kept_beside_the_common_ones(
    tmp_path: Path, base: Tensors, tunes: dict[str, Tensors]
) -> None:
    for key in (EMBEDDINGS, HEAD):
        tunes["vision"][key] = torch.cat([tunes["vision"][key], torch.ones(3, 8)])
    with taken(tmp_path, base, tunes) as inventory:
        assert {entry.key for entry in inventory.of("rows")} == {EMBEDDINGS, HEAD}
        deltas = inventory.deltas(Block(EMBEDDINGS, 0, 11))
        assert torch.equal(deltas[1], tunes["vision"][EMBEDDINGS][:11] - base[EMBEDDINGS])
        assert torch.equal(inventory.models["vision"].read(EMBEDDINGS, 11, 14), torch.ones(3, 8))


@pytest.mark.parametrize(
    ("method", "mask", "bits", "scale"),
    [
        ("mmer", {}, 1, 0),
        ("mmer", {"scale": "row"}, 1, 4),
        ("ties", {}, 0, 0),
        ("optimal", {}, 1, 4),
        ("ternary", {}, 2, 4),
        ("emr", {}, 1, 0),
    ],
)
def test_sizes_are_those_of_the_files(
    tmp_path: Path, base: Tensors, tunes: dict[str, Tensors], method: str, mask: Any, bits: int, scale: int
) -> None:
    tunes["text"] |= {"tower.ids": torch.arange(3)}
    tunes["audio"][HEAD] = torch.cat([tunes["audio"][HEAD], torch.ones(2, 8)]).bfloat16()
    whole = {"trim": 1} if method in ("mmer", "ties") else {}
    changes = {"merge": {"method": method} | whole, "mask": mask}
    with taken(tmp_path, base, tunes, {"text": {"keep": ["tower"]}}, **changes) as inventory:
        config = configure({name: {} for name in tunes}, **changes)
        sizes = inventory.sizes(config)
    matrices = [shape for shape in SHAPES.values() if len(shape) == 2]
    elements = sum(rows * columns for rows, columns in matrices)
    assert sizes.elements == elements
    assert sizes.kept == 3 * 8
    assert sizes.read == 4 * 4 * elements - 2 * 11 * 8 + 2 * 2 * 8
    masks = 3 * sum(-(-rows * columns * bits // 8) for rows, columns in matrices)
    scales = 3 * (4 * len(matrices) if method == "emr" else scale * sum(rows for rows, _ in matrices))
    assert sizes.write == 4 * elements + masks + scales + 3 * 2 * 4 * 8 + 2 * 2 * 8 + sizes.kept


def test_an_adapter_reads_and_keeps_only_what_it_changes(tmp_path: Path, base: Tensors, lora_folder: Path) -> None:
    changes = {"exclude_exact": ["*up_proj*"], "merge": {"method": "ties", "trim": 1}}
    with taken(tmp_path, base, {"l": lora_folder}, **changes) as inventory:
        sizes = inventory.sizes(configure({"l": {}}, **changes))
    assert sizes.read == 4 * sizes.elements + 4 * 2 * (8 + 8)
    assert sizes.write == 4 * sizes.elements + 4 * 12 * 8


@pytest.mark.parametrize("tau", ["fp32", "bf16", "nf4"])
def test_what_is_trimmed_takes_less(tmp_path: Path, base: Tensors, tunes: dict[str, Tensors], tau: str) -> None:
    names: dict[str, Any] = {name: {} for name in tunes}
    with taken(tmp_path, base, tunes) as inventory:
        shares = (0.02, 0.2, 0.5, 1)
        changes = [{"merge": {"method": "mmer", "trim": share, "tau": tau}} for share in shares]
        written = [inventory.sizes(configure(names, **change)).write for change in changes]
    assert written[0] < written[1] <= written[2] == written[3]


def drop(key: str) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.pop(key)


def put(key: str, tensor: Tensor) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({key: tensor})


PROBLEMS: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "a missing key": (drop(Q), f"vision: lacks {Q}"),
    "a missing vector": (drop("model.norm.weight"), "vision: lacks model.norm.weight"),
    "an extra key": (put("tower.w", torch.ones(2)), "vision: tower.w is in neither"),
    "another shape": (put(Q, torch.ones(8, 9)), f"vision: {Q} has shape (8, 9), in the base (8, 8)"),
    "further rows of a layer": (put(Q, torch.ones(9, 8)), f"vision: {Q} has shape (9, 8)"),
    "fewer tokens": (put(EMBEDDINGS, torch.ones(10, 8)), f"vision: {EMBEDDINGS} has shape (10, 8)"),
    "another vector": (put("model.norm.weight", torch.ones(9)), "vision: model.norm.weight has shape (9,)"),
    "a scalar": (put("model.norm.weight", torch.ones(())), "vision: model.norm.weight has shape ()"),
    "doubles": (put(Q, torch.ones(8, 8).double()), f"vision: {Q} is F64, not one of F32, F16, BF16"),
    "a tied head": (drop(HEAD), f"vision: lacks {HEAD}, tied"),
}


@pytest.mark.parametrize(("harm", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_fits_nowhere_is_told(
    tmp_path: Path, base: Tensors, tunes: dict[str, Tensors], harm: Callable[[Tensors], object], message: str
) -> None:
    harm(tunes["vision"])
    with pytest.raises(ArtifactError) as caught, taken(tmp_path, base, tunes):
        pass
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_problems_of_all_models_come_at_once(tmp_path: Path, base: Tensors, tunes: dict[str, Tensors]) -> None:
    tunes["text"].pop(Q)
    tunes["vision"][UP] = torch.ones(1, 1)
    tunes["audio"] |= {f"tower.{number:02d}": torch.ones(1) for number in range(13)}
    with pytest.raises(ArtifactError) as caught, taken(tmp_path, base, tunes):
        pass
    message = str(caught.value)
    assert f"text: lacks {Q}; audio: tower.00 is in neither" in message
    assert message.count("tower.") == 9
    assert "and 5 more" in message


@pytest.mark.parametrize(
    ("harm", "expected", "do"),
    [
        (drop(Q), "every tensor in the base", "`llm_prefix`"),
        (put(Q, torch.ones(8, 9)), "the base's shapes", "name the base that the models were made of"),
        (put(Q, torch.ones(8, 8).double()), "tensors of floats", "`exclude_exact`"),
    ],
)
def test_each_kind_of_misfit_has_an_advice_of_its_own(
    tmp_path: Path,
    base: Tensors,
    tunes: dict[str, Tensors],
    harm: Callable[[Tensors], object],
    expected: str,
    do: str,
) -> None:
    harm(tunes["vision"])
    with pytest.raises(ArtifactError) as caught, taken(tmp_path, base, tunes):
        pass
    assert expected in str(caught.value.expected)
    assert do in str(caught.value.do)
    assert ";" not in f"{caught.value.expected}{caught.value.do}"


def test_an_integer_tensor_of_all_is_kept_exact_on_demand(
    tmp_path: Path, base: Tensors, tunes: dict[str, Tensors]
) -> None:
    ids = {"model.position_ids": torch.arange(4).view(1, 4)}
    tunes = {name: tensors | ids for name, tensors in tunes.items()}
    with pytest.raises(ArtifactError, match="position_ids is I64"), taken(tmp_path, base | ids, tunes):
        pass
    with taken(tmp_path, base | ids, tunes, exclude_exact=["*position_ids"]) as inventory:
        assert kinds(inventory)["model.position_ids"] == "exact"


def test_a_lora_that_does_not_fit_is_told(tmp_path: Path, base: Tensors) -> None:
    name = Q.removesuffix(".weight")
    tensors = {f"{name}.lora_A.weight": torch.ones(2, 8), f"{name}.lora_B.weight": torch.ones(9, 2)}
    adapter = write_adapter(tmp_path / "l", tensors, base_model_name_or_path="owner/other")
    with pytest.raises(ArtifactError) as caught, taken(tmp_path, base, {"l": adapter}):
        pass
    assert f"l: {Q} has shape (9, 8)" in str(caught.value)
    assert "the adapter l was trained on owner/other, says its adapter_config.json" in str(caught.value.do)


def test_models_are_those_of_the_configuration(base_folder: Path) -> None:
    with Checkpoint.open(base_folder) as base, pytest.raises(InputError, match="other models"):
        take_inventory(base, {"a": base}, configure({"b": {}}))
