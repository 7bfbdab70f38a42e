"""The measurement of retention, from training to its table, on models and data of a few thousand numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from benchmarks.retention import __main__ as command
from benchmarks.retention import forgetting, tasks, variants
from benchmarks.retention.bench import Bench
from benchmarks.retention.measuring import merged
from benchmarks.retention.models import Connector, Multimodal, load_language, turns_of
from benchmarks.retention.results import Results
from benchmarks.retention.table import percent, report, spread
from benchmarks.retention.tasks import Example, Part, load_task
from benchmarks.retention.training import Recipe, fine_tune, tuned, write_base
from benchmarks.retention.variants import UNCHANGED, VARIANTS, Change, Variant, restored, shuffled
from semi.errors import InputError
from semi.merge.restore import restore

COLOURS, THINGS = ("red", "green", "blue"), ("cat", "dog", "house", "car")
RECIPE = Recipe(batch=4, aligning=3, tuning=4, save_every=2)
NAMES = ("text", "molecules", "satellite", "imu")
"""Tasks of the command line; here all are about colours."""


def examples(name: str, part: str, count: int) -> list[Example]:
    draw = torch.Generator().manual_seed(NAMES.index(name) * 10 + len(part))
    found = []
    for i in range(count):
        colour, thing = COLOURS[i % 3], THINGS[(i + len(part)) % 4]
        if name == "text":
            found.append(Example(f"what is the {thing}", colour, {"colour": colour}))
            continue
        embedding = torch.randn(6, generator=draw) + 3 * torch.nn.functional.one_hot(torch.tensor(i % 3), 6)
        found.append(Example("describe this", f"a {colour} {thing}", {"colour": colour, "thing": thing}, embedding))
    return found


def data_of(name: str, cache: Path, limits: Mapping[Part, int] | None = None) -> dict[Part, list[Example]]:
    return {"train": examples(name, "train", 12), "choose": examples(name, "choose", 2), "test": examples(name, "t", 3)}


@pytest.fixture(scope="module")
def base(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("retention") / "base", str(tiny_lm))


@pytest.fixture(scope="module")
def bench(base: Path) -> Bench:
    folders = {name: base.parent / name for name in NAMES[:3]}
    for name, folder in folders.items():
        fine_tune(base, examples(name, "train", 12), folder, task=name, seed=0, recipe=RECIPE)
    return Bench(base, folders, {name: data_of(name, base) for name in folders}, torch.float32)


def test_a_training_loss_is_that_of_the_language_model_as_it_reads(base: Path) -> None:
    for name in NAMES[:2]:
        shown = examples(name, "train", 5)
        connector = None if name == "text" else Connector(6, 32)
        model = Multimodal(*load_language(base, torch.float32), connector)
        nats, tokens = model.reader.answer_loss([[turn] for turn in turns_of(shown, connector)])
        torch.testing.assert_close(model.loss(shown), nats.sum() / tokens.sum())


def test_what_is_saved_is_a_folder_of_transformers_with_a_projector(base: Path, bench: Bench) -> None:
    folder = bench.folders["molecules"]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    own = bench.models["molecules"]
    for key in bench.base.keys:
        torch.testing.assert_close(model.get_parameter(key).view(-1), own.read(key).view(-1), rtol=0, atol=0)
    changed = {key for key in bench.base.keys if not torch.equal(own.read(key), bench.base.read(key))}
    matrices = {key for key in bench.base.keys if key.endswith("_proj.weight")}
    assert changed == matrices
    assert len(tuned(model)) == len(matrices)
    assert Connector.read(bench.models["text"]) is None


def test_training_that_was_killed_gives_the_same_bytes(base: Path, tmp_path: Path) -> None:
    shown = examples("molecules", "train", 12)
    fine_tune(base, shown, tmp_path / "whole", task="molecules", seed=1, recipe=RECIPE)

    class Killed(Exception):
        pass

    for stop in (2, 3, 4):  # in the first stage, at its end, at the end of the second

        def kill(step: int, note: str, stop: int = stop) -> None:
            if step == stop:
                raise Killed

        with pytest.raises(Killed):
            fine_tune(base, shown, tmp_path / "killed", task="molecules", seed=1, recipe=RECIPE, advance=kill)
    fine_tune(base, shown, tmp_path / "killed", task="molecules", seed=1, recipe=RECIPE)
    for name in ("language.safetensors", "projector.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_training_learns(base: Path, tmp_path: Path) -> None:
    recipe = Recipe(batch=6, aligning=15, tuning=15, tune_lr=1e-2, align_lr=1e-2)
    losses = fine_tune(base, examples("imu", "train", 12), tmp_path / "m", task="imu", seed=0, recipe=recipe)
    assert losses["tuning"]["last"] < 0.7 * losses["aligning"]["first"]


def test_without_a_change_a_variant_is_what_semi_merge_restores(bench: Bench, tmp_path: Path) -> None:
    for method in ("task_arithmetic", "emr", "optimal", "ternary"):
        with merged(bench, list(NAMES[:3]), Variant({"method": method}), tmp_path / method) as (artifact, _):
            for key, block, rows in restored(artifact, bench.base, "text", UNCHANGED, None):
                want = next(found for at, found in restore(artifact, bench.base, "text", key) if at == block)
                assert torch.equal(rows, want)
            kept = Connector.read(artifact.kept("satellite"))
            own = bench.connectors["satellite"]
            assert kept is not None
            assert own is not None
            assert all(
                torch.equal(a, b) for a, b in zip(kept.state_dict().values(), own.state_dict().values(), strict=True)
            )


@pytest.mark.parametrize(
    ("merge", "mask", "change"),
    [
        ({"method": "task_arithmetic", "alpha": 0.3}, {}, Change(alpha=0.3)),
        ({"method": "ties", "alpha": 0.5}, {}, Change(alpha=0.5)),
        ({"method": "mmer"}, {"lambda": 0.6}, Change(lambda_=0.6)),
        ({"method": "tall"}, {"lambda": 1.25}, Change(lambda_=1.25)),
    ],
)
def test_a_constant_chosen_later_gives_what_the_merge_gives_that_was_made_with_it(
    bench: Bench, tmp_path: Path, merge: dict[str, Any], mask: dict[str, Any], change: Change
) -> None:
    names = list(NAMES[:3])
    with (
        merged(bench, names, Variant({"method": merge["method"]}), tmp_path / "default") as (default, inventory),
        merged(bench, names, Variant(merge, mask=mask), tmp_path / "set") as (made, _),
    ):
        for name in names:
            later = list(restored(default, bench.base, name, change, inventory))
            wanted = list(restored(made, bench.base, name, UNCHANGED, None))
            for (_, _, got), (key, _, want) in zip(later, wanted, strict=True):
                torch.testing.assert_close(got, want, rtol=0, atol=1e-7, msg=key)


def test_controls_keep_the_density_and_are_other_masks(bench: Bench, tmp_path: Path) -> None:
    with merged(bench, list(NAMES[:3]), Variant({"method": "mmer"}), tmp_path / "m") as (artifact, _):

        def deltas(model: str, change: Change) -> torch.Tensor:
            found = restored(artifact, bench.base, model, change, None)
            return torch.cat([(rows - bench.base.read(key)).view(-1) for key, _, rows in found])

        own, other = deltas("text", UNCHANGED) != 0, deltas("molecules", UNCHANGED) != 0
        random, shuffled_ = (deltas("text", Change(control=control)) != 0 for control in ("random", "shuffled"))
        assert torch.equal(deltas("text", Change(control="other")) != 0, other)
        assert int(shuffled_.sum()) == pytest.approx(int(own.sum()), rel=0.01)  # a step below the base's precision
        assert int(random.sum()) == pytest.approx(int(own.sum()), rel=0.1)
        assert not torch.equal(own, random)
        assert not torch.equal(own, shuffled_)


@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 10**6))
def test_a_shuffled_mask_keeps_each_rows_count_within_the_support(rows: int, columns: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    support = torch.rand(rows, columns, generator=draw) < 0.6
    mask = support & (torch.rand(rows, columns, generator=draw) < 0.5)
    found = shuffled(mask, support, torch.rand(rows, columns, generator=draw))
    assert torch.equal(found.sum(1), mask.sum(1))
    assert not (found & ~support).any()


def test_results_survive_a_kill_and_refuse_other_settings(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    Results(path, {"test": 4}).once({"task": "text"}, dict, {"loss": 1.5})
    with open(path, "ab") as file:
        file.write(b'{"task": "imu", "lo')
    again = Results(path, {"test": 4})
    assert again.find(task="text") == {"task": "text", "loss": 1.5}
    assert again.once({"task": "text"}, dict, {"loss": 2.0})["loss"] == 1.5
    again.once({"task": "imu"}, dict, {"loss": 3.0})
    assert [json.loads(line) for line in path.read_text().splitlines()] == again.records
    with pytest.raises(InputError, match="other settings"):
        Results(path, {"test": 5})


def test_from_training_to_the_table(
    tiny_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks, "load_task", data_of)
    monkeypatch.setattr(forgetting, "RESIDUALS", (0.0, 0.05))
    some = {name: replace(variant, alphas=variant.alphas[:2]) for name, variant in VARIANTS.items()}
    monkeypatch.setattr(variants, "VARIANTS", {n: replace(v, lambdas=v.lambdas[-2:]) for n, v in some.items()})

    def run(*arguments: str) -> str:
        command.main(["--runs", str(tmp_path), *arguments])
        return capsys.readouterr().out

    assert "text: 12 to train, 2 to choose, 3 to test" in run("prepare", "--language-model", str(tiny_lm))
    run("train", "--seed", "0", "--task", *NAMES[:3], "--aligning", "2", "--tuning", "2", "--lr", "0.01")
    assert "complete already" in run("train", "--seed", "0", "--task", "text")
    measure = ("measure", "--seed", "0", "--task", "text", "molecules")
    run(*measure)
    assert run(*measure) == ""  # nothing is done again
    run("forget", "--seed", "0", "--task", "text", "molecules", "--added", "satellite")
    assert not list((tmp_path / "0" / "merges").glob("*.mmer"))
    table = run("table", "--out", str(tmp_path / "all.json"))
    rows = ("alone", "MMER: random mask of equal density", "MMER, lambda chosen", "TIES, alpha chosen")
    assert all(f"| {name} |" in table for name in (*VARIANTS, *rows, "added, residual 0.05", "merged again"))
    records = json.loads((tmp_path / "all.json").read_text())
    [later] = records["forgetting.jsonl"]
    added = [record for record in later if str(record.get("merge")).startswith("added")]
    assert added
    assert all(all(record[of].values()) for record in added for of in ("identical", "same weights"))
    bytes_added = [record["bytes added"] for record in added]
    assert bytes_added == sorted(bytes_added)


def test_a_table_has_ratios_to_the_models_own_score() -> None:
    def seed(alone: float, merged_: float) -> Sequence[Mapping[str, Any]]:
        values = {"alone": alone, "MMER": merged_}
        return [{"variant": name, "task": "text", "accuracy": value} for name, value in values.items()]

    table = report([seed(0.5, 0.5), seed(0.8, 0.4)], [])
    assert "| MMER | 0.450 (0.400-0.500) · 75.0 % (50.0-100.0) | 75.0 % (50.0-100.0) |" in table
    assert spread([]) == percent([]) == ""


@pytest.mark.assets
def test_definitions_share_no_split(tmp_path: Path) -> None:
    if not pytest.importorskip("semi_plugin_text.assets").WORDNET.present():
        pytest.skip("run: semi fetch wordnet")
    found = load_task("text", tmp_path)
    asked = [{" ".join(sorted(example.instruction.lower().split())) for example in own} for own in found.values()]
    assert all(not one & other for one, other in combinations(asked, 2))
    assert len(found["train"]) > 5 * len(found["test"]) > 0
    assert all(example.answer in example.attributes.values() for own in found.values() for example in own)
    assert load_task("text", tmp_path, {"test": 7})["test"] == found["test"][:7]
