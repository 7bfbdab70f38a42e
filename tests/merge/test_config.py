from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from semi.errors import InputError
from semi.merge.codes import METHODS
from semi.merge.config import MergeConfig, parse_size
from semi.yaml_config import read_config

FULL = """
base_model: ./base
models:
  - {name: vision, path: ./llava, llm_prefix: "model.", keep: [vision_tower, mm_projector], lambda: 0.8}
  - {name: audio, path: ./audio-lora, adapter: lora}
merge: {method: mmer, trim: 0.2, trim_scope: global, agg: dis-mean, alpha: 1.0, tie: none}
mask: {rule: tall, lambda: 1.2, pack: bit, scale: row}
exclude_exact: ["*norm*", "*.bias"]
io: {max_memory: 512M, shard: 2G, resume: true}
verify: {max_residual: 0.6, require_all_keys: true}
"""


def read(path: Path, **changes: Any) -> MergeConfig:
    """The least configuration, with top-level changes."""
    least = {
        "base_model": "b",
        "models": [{"name": "one", "path": "1"}, {"name": "two", "path": "2"}],
        "merge": {"method": "mmer"},
    }
    (path / "merge.yaml").write_text(yaml.safe_dump(copy.deepcopy(least | changes)))
    return read_config(path / "merge.yaml", MergeConfig)


def test_every_setting_is_read(tmp_path: Path) -> None:
    (tmp_path / "merge.yaml").write_text(FULL)
    config = read_config(tmp_path / "merge.yaml", MergeConfig)
    vision, audio = config.models
    assert vision.keep == ("vision_tower", "mm_projector")
    assert (vision.adapter, audio.adapter) == ("none", "lora")
    assert [config.lambda_of(model) for model in config.models] == [0.8, 1.2]
    assert (config.io.max_memory, config.io.shard) == (512 * 2**20, 2 * 2**30)
    assert config.scale == "row"


def test_defaults_are_the_recipe(tmp_path: Path) -> None:
    config = read(tmp_path)
    assert config.merge.model_dump() == {
        **{"tau": "fp32"},
        **{"method": "mmer", "trim": 0.2, "trim_scope": "global", "agg": "dis-mean", "alpha": 1.0, "tie": "none"},
    }
    assert (config.rule, config.scale) == ("tall", "none")
    assert [config.lambda_of(model) for model in config.models] == [1.0, 1.0]
    assert config.exclude_exact == ("*norm*", "*.bias")
    assert (config.io.max_memory, config.io.shard, config.io.resume) == (512 << 20, 2 << 30, True)
    assert (config.verify.max_residual, config.verify.require_all_keys) == (0.6, True)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_its_own_mask_and_settings(tmp_path: Path, method: str) -> None:
    config = read(tmp_path, merge={"method": method})
    assert config.merge.method == method
    rules = {"task_arithmetic": "none", "ties": "none", "dare": "none", "emr": "agreement", "ternary": "ternary"}
    assert config.rule == rules.get(method, "tall")
    assert read(tmp_path, merge={"method": method}, mask={"rule": config.rule}).rule == config.rule
    assert config.scale == {"emr": "model", "optimal": "row", "ternary": "row"}.get(method, "none")


@pytest.mark.parametrize(
    ("method", "setting"),
    [("optimal", "trim"), ("emr", "alpha"), ("task_arithmetic", "tie"), ("tall", "trim"), ("dare", "trim_scope")],
)
def test_a_setting_without_effect_is_refused(tmp_path: Path, method: str, setting: str) -> None:
    with pytest.raises(InputError, match=f"merge.{setting}: unknown.*`merge` with method {method} takes .*tau"):
        read(tmp_path, merge={"method": method, setting: 1})


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no models": ({"models": []}, ["models: "]),
    "an unknown method": ({"merge": {"method": "slerp"}}, ["merge.method: 'slerp' is unknown; there are ", *METHODS]),
    "nearly a method": ({"merge": {"method": "tise"}}, ["merge.method: 'tise' is unknown, did you mean ties?"]),
    "no method": ({"merge": {}}, ["merge.method: missing; there are ", *METHODS]),
    "a method alone": ({"merge": "ties"}, ["merge: should be a mapping of settings, got 'ties'"]),
    "trim of nothing": ({"merge": {"method": "ties", "trim": 0}}, ["merge.trim: should be greater than 0, got 0"]),
    "trim of more than all": ({"merge": {"method": "mmer", "trim": 1.1}}, ["merge.trim: "]),
    "nearly lambda": (
        {"models": [{"name": "x", "path": "p", "lamda": 1}]},
        ["models.0.lamda: unknown, did you mean lambda?; `models.0` takes name, path, adapter, llm_prefix, keep, lam"],
    ),
    "the name of lambda in Python": ({"mask": {"lambda_": 1}}, ["mask.lambda_: unknown, did you mean lambda?"]),
    "an unknown rule": (
        {"mask": {"rule": "best"}},
        ["mask.rule: should be 'none', 'tall', 'agreement', 'ternary' or 'budget', got 'best'"],
    ),
    "neither a number nor a word": (
        {"mask": {"lambda": "big"}},
        ["mask.lambda: should be a valid number or should be 'auto'"],
    ),
    "an unknown setting": ({"mrge": 1}, ["mrge: unknown, did you mean merge?", "settings among base_model, models"]),
    "a size": ({"io": {"max_memory": "lots", "shard": "0"}}, ["io.max_memory", "'lots' is no size", "io.shard"]),
    "a negative lambda": ({"mask": {"lambda": -1}}, ["mask.lambda"]),
    "a name of a path": ({"models": [{"name": "../x", "path": "p"}]}, ["models.0.name"]),
    "an empty keep": ({"models": [{"name": "x", "path": "p", "keep": [""]}]}, ["models.0.keep.0"]),
    "equal names": ({"models": [{"name": "x", "path": "p"}] * 2}, ["x twice"]),
    "a mask of another method": (
        {"mask": {"rule": "ternary"}},
        ["`mask.rule: ternary` does not fit mmer, which has tall"],
    ),
    "a vector in units of its own": (
        {"merge": {"method": "optimal"}, "mask": {"scale": "none"}},
        ["`mask.scale: none` does not fit optimal"],
    ),
    "lambda without a mask": ({"merge": {"method": "ties"}, "mask": {"lambda": 1.0}}, ["`lambda` (mask)", "ties"]),
    "a model's lambda without a mask": (
        {"merge": {"method": "emr"}, "models": [{"name": "x", "path": "p", "lambda": 1.0}]},
        ["`lambda` (models.x)"],
    ),
    "a form of the shared vector": ({"merge": {"method": "ties", "tau": "int8"}}, ["merge.tau: "]),
    "a budget without bits": ({"mask": {"rule": "budget"}}, ["`mask.rule: budget` and `mask.bits` go together"]),
    "bits without a budget": ({"mask": {"bits": 0.5}}, ["`mask.rule: budget` and `mask.bits` go together"]),
    "no bits": ({"mask": {"rule": "budget", "bits": 0}}, ["mask.bits"]),
    "a budget of other masks": (
        {"merge": {"method": "ternary"}, "mask": {"rule": "budget", "bits": 0.5}},
        ["`mask.rule: budget` is for methods of the rule tall; ternary has ternary"],
    ),
    "a budget of scales that are known later": (
        {"mask": {"rule": "budget", "bits": 0.5, "scale": "model"}},
        ["`mask.scale: model`", "`mask.rule: budget`"],
    ),
    "a lambda to find without prompts": ({"mask": {"lambda": "auto"}}, ["`mask.lambda: auto` and `mask.prompts`"]),
    "prompts without a lambda to find": ({"mask": {"prompts": "p"}}, ["`mask.lambda: auto` and `mask.prompts`"]),
    "a grid without a lambda to find": ({"mask": {"grid": [1]}}, ["`mask.grid` is of `mask.lambda: auto`"]),
    "an empty grid": ({"mask": {"lambda": "auto", "prompts": "p", "grid": []}}, ["mask.grid"]),
    "a grid of no lambdas": ({"mask": {"lambda": "auto", "prompts": "p", "grid": [1, -1]}}, ["mask.grid.1"]),
    "a lambda to find for no masks": (
        {"merge": {"method": "emr"}, "mask": {"lambda": "auto", "prompts": "p", "rule": "budget", "bits": 1}},
        ["`lambda` (mask) is of the rule tall; emr has agreement", "not by a budget", "`mask.scale: model` is known"],
    ),
    "everything at once": (
        {"io": {"speed": 1}, "models": [{"name": "x"}], "merge": {"method": "ties", "agg": "max"}, "masks": {}},
        ["io.speed", "models.0.path", "merge.agg", "masks"],
    ),
}


@pytest.mark.parametrize(("changes", "named"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, **changes)
    assert not [name for name in named if name not in str(caught.value)]


def test_each_problem_has_a_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, mask={"rule": "budget", "bits": 1, "lambda": 1}, merge={"method": "emr"})
    first, *lines = caught.value.what.splitlines()
    assert first == f"{tmp_path / 'merge.yaml'} has settings that do not fit:"
    assert [line.split("`")[1] for line in lines] == ["lambda", "mask.rule: budget", "mask.scale: model"]


def test_a_budget_is_one_below_a_bit_an_entry(tmp_path: Path) -> None:
    config = read(tmp_path, mask={"rule": "budget", "bits": 0.5})
    assert (config.rule, config.budget, config.lossy) == ("tall", 0.5, True)
    config = read(tmp_path, mask={"rule": "budget", "bits": 1})
    assert (config.rule, config.budget, config.lossy) == ("tall", None, False)
    assert read(tmp_path, merge={"method": "ties", "tau": "bf16"}).lossy


def test_a_lambda_that_is_to_be_found_is_settled_model_by_model(tmp_path: Path) -> None:
    models = [{"name": "one", "path": "1", "lambda": 0.3}, {"name": "two", "path": "2"}]
    config = read(tmp_path, models=models, mask={"lambda": "auto", "prompts": "p", "grid": [2, 0.5, 2]})
    assert (config.unsettled, config.grid) == (("two",), (0.5, 2.0))
    one, two = config.models
    assert config.lambda_of(one) == 0.3
    with pytest.raises(InputError, match="lambda of two is to be found"):
        config.lambda_of(two)
    settled = config.settled({"two": 2.0})
    assert [settled.lambda_of(model) for model in settled.models] == [0.3, 2.0]
    assert settled.unsettled == read(tmp_path).unsettled == ()
    assert MergeConfig.model_validate(config.model_dump(mode="json", by_alias=True)) == config


def test_settings_and_methods_name_the_same_ways_to_join(tmp_path: Path) -> None:
    for name, method in METHODS.items():
        kinds = {read(tmp_path, merge={"method": name, "agg": agg}).merge.method for agg in method.aggregations}
        assert kinds <= {name}
        default = getattr(read(tmp_path, merge={"method": name}).merge, "agg", None)
        assert default == next(iter(method.aggregations), None)


@given(number=st.integers(1, 10**6), unit=st.sampled_from(["", "K", "M", "G", "T"]))
def test_sizes_count_as_gnu_tools_do(number: int, unit: str) -> None:
    power = " KMGT".index(unit or " ")
    assert parse_size(f"{number}{unit}") == parse_size(f" {number} {unit.lower()} ") == number * 1024**power
    assert parse_size(f"{number}{unit}B") == number * 1000**power
    assert parse_size(f"{number}{unit}iB") == number * 1024**power


def test_sizes_may_be_fractions_and_numbers_are_left_alone() -> None:
    assert parse_size("1.5G") == 3 * 2**29
    assert parse_size(7) == 7
    for wrong in ("", "M", "-1M", "1X", "1e3"):
        with pytest.raises(ValueError, match="is no size"):
            parse_size(wrong)
