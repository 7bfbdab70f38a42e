"""lambda: auto tries what verify would say of each merge, and takes the best, again and again the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from semi.cli.merge import inspect
from semi.errors import ArtifactError, InputError, OutputError
from semi.merge import search
from semi.merge.artifact import Artifact
from semi.merge.config import MergeConfig
from semi.merge.plan import make_plan
from semi.merge.removing import remove_model
from semi.merge.run import run_merge
from semi.merge.search import MOST, read_prompts
from semi.merge.verify import verify
from tests.merge.llamas import Merged, merge_llamas
from tests.merge.merges import contents

Write = Callable[..., Path]
PROMPTS = ["the quick brown fox", "jumps over the lazy dog", "and then"]
GRID = [0.0, 1.0, 2.0]


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    file.write_text("\n\n".join(PROMPTS) + "\n")
    return file


@pytest.fixture(scope="module")
def merged(prompts: Path, tmp_path_factory: pytest.TempPathFactory, write_lm: Write) -> Merged:
    return merge_llamas(tmp_path_factory.mktemp("auto"), write_lm, mask=auto(prompts))


def auto(prompts: Path, **more: Any) -> dict[str, Any]:
    return {"lambda": "auto", "prompts": str(prompts), "grid": GRID} | more


@pytest.mark.parametrize("settings", [{"method": "mmer", "tau": "nf4"}, {"method": "optimal"}])
def test_the_curve_is_what_each_merge_would_diverge_by(
    settings: dict[str, Any], prompts: Path, tmp_path: Path, write_lm: Write
) -> None:
    """Whatever the data type of the base."""
    dtype = torch.bfloat16 if settings["method"] == "optimal" else torch.float32
    merged = merge_llamas(tmp_path / "auto", write_lm, merge=settings, mask=auto(prompts), dtype=dtype)
    with merged.open() as artifact:
        found = artifact.search
        assert found is not None
        assert found == json.loads(json.dumps(artifact.summary()))["search"]
        assert {name: model.lambda_ for name, model in artifact.models.items()} == found["found"]
        assert verify(artifact, models=True).fine
    assert (found["prompts"], found["file"]) == (3, str(prompts))
    assert set(found["curves"]) == {"text", "vision", "lora"}
    for place, factor in enumerate(GRID):
        one = merge_llamas(tmp_path / str(factor), write_lm, merge=settings, mask={"lambda": factor}, dtype=dtype)
        with one.open() as artifact:
            told = verify(artifact, prompts=PROMPTS).divergence
        for name, curve in found["curves"].items():
            assert curve[place]["lambda"] == factor
            assert curve[place]["nats"] == pytest.approx(told[name].nats, rel=1e-5, abs=1e-9)
            assert curve[place]["agreement"] == pytest.approx(told[name].agreement, abs=1e-5)
            assert found["tokens"] == told[name].tokens
    for name, curve in found["curves"].items():
        least = min(at["nats"] for at in curve)
        assert found["found"][name] == max(at["lambda"] for at in curve if at["nats"] == least)


def test_inspect_shows_the_curve(merged: Merged, capsys: pytest.CaptureFixture[str]) -> None:
    inspect(merged.folder, as_json=False)
    shown = capsys.readouterr().out
    with merged.open() as artifact:
        assert artifact.search is not None
        for name, curve in artifact.search["curves"].items():
            [row] = [line.split() for line in shown.splitlines() if line.split()[:1] == [name] and "*" in line]
            assert [float(figure.rstrip("*")) for figure in row[1:]] == [float(f"{at['nats']:.3g}") for at in curve]
            chosen = next(i for i, figure in enumerate(row[1:]) if figure.endswith("*"))
            assert curve[chosen]["lambda"] == artifact.models[name].lambda_


def test_a_lambda_that_is_given_is_not_looked_for(merged: Merged, tmp_path: Path) -> None:
    config = with_lambda(configuration(merged), "vision", 0.7)
    run_merge(config, tmp_path / "out")
    with merged.open() as whole, Artifact.open(tmp_path / "out") as artifact:
        assert whole.search is not None
        assert artifact.search is not None
        assert set(artifact.search["curves"]) == {"text", "lora"}
        assert artifact.search["curves"]["text"] == whole.search["curves"]["text"]
        assert artifact.models["vision"].lambda_ == 0.7


def test_the_merge_is_that_with_the_lambdas_that_were_found(merged: Merged, tmp_path: Path) -> None:
    with merged.open() as artifact:
        config = configuration(merged)
        for name, model in artifact.models.items():
            config = with_lambda(config, name, model.lambda_)
        assert verify(artifact, models=True).fine
    run_merge(config.model_copy(update={"mask": type(config.mask)()}), tmp_path / "again")
    one, other = contents(merged.folder), contents(tmp_path / "again")
    assert {name for name in one if one[name] != other[name]} == {"manifest.json", "merge.json"}


def test_equal_divergences_go_to_the_larger_lambda(
    prompts: Path, tmp_path: Path, write_lm: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = search.compare
    monkeypatch.setattr(search, "compare", lambda one, other: told(same := list(one), same))
    with merge_llamas(tmp_path, write_lm, mask=auto(prompts)).open() as artifact:
        assert {model.lambda_ for model in artifact.models.values()} == {2.0}


@pytest.mark.parametrize("stage", ["Finding lambda", "Merging"])
def test_an_interrupted_search_comes_to_the_same(stage: str, merged: Merged, tmp_path: Path) -> None:
    stages = []

    def stop(done: int, total: int, what: str) -> None:
        assert done <= total
        if what == stage and done > total / 2 and stage not in stages:
            stages.append(stage)
            raise KeyboardInterrupt
        if stages == [stage]:
            stages.append(what)

    config = configuration(merged)
    with pytest.raises(KeyboardInterrupt):
        run_merge(config, tmp_path / "out", advance=stop)
    run_merge(config, tmp_path / "out", advance=stop)
    assert stages[1] == stage  # what was found before is not looked for again
    assert contents(tmp_path / "out") == contents(merged.folder)


def test_other_prompts_do_not_resume(merged: Merged, tmp_path: Path) -> None:
    mine = tmp_path / "prompts.txt"
    mine.write_text("one")
    given = configuration(merged)
    config = given.model_copy(update={"mask": given.mask.model_copy(update={"prompts": str(mine)})})

    def stop(done: int, total: int, what: str) -> None:
        if what == "Finding lambda":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_merge(config, tmp_path / "out", advance=stop)
    mine.write_text("others")
    with pytest.raises(OutputError, match="other inputs or settings") as caught:
        run_merge(config, tmp_path / "out")
    assert "prompts" in str(caught.value.got)


def test_a_plan_tells_of_the_readings_and_the_memory(merged: Merged, tmp_path: Path) -> None:
    plan = make_plan(configuration(merged), tmp_path / "out")
    assert plan["passes"] == 2 + 1 + 3 * (1 + len(GRID)) + 1
    assert "beside io.max_memory" in plan["notes"][-1]


def test_a_model_that_is_removed_takes_its_curve_with_it(merged: Merged, tmp_path: Path) -> None:
    out = tmp_path / "out.mmer"
    remove_model(merged.folder, "vision", out)
    with merged.open() as before, Artifact.open(out) as artifact:
        assert before.search is not None
        assert artifact.search is not None
        for part in ("found", "curves"):
            rest = {name: own for name, own in before.search[part].items() if name != "vision"}
            assert artifact.search[part] == rest
    inspect(out)
    remove_model(out, "text")
    run_merge(settled := with_lambda(configuration(merged), "text", 1.0), one := tmp_path / "one.mmer")
    assert settled.unsettled == ("vision", "lora")
    for name in settled.unsettled:
        remove_model(one, name)
    with Artifact.open(one) as artifact:  # its lambda was given
        assert artifact.search is None
    inspect(one)


def test_a_base_without_a_tokenizer_is_refused(merged: Merged, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for name in ("model.safetensors", "config.json"):
        shutil.copy(merged.base / name, base)
    config = configuration(merged).model_copy(update={"base_model": str(base)})
    with pytest.raises(ArtifactError, match="tokenizer"):
        run_merge(config, tmp_path / "out")


def test_prompts_are_lines(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text(" one \n\n  \ntwo\n")
    assert read_prompts(file) == ["one", "two"]
    for content in ("", "\n \n", "x\n" * (MOST + 1)):
        file.write_text(content)
        with pytest.raises(InputError, match="too few or too many") as caught:
            read_prompts(file)
        assert str(MOST) in str(caught.value.expected)
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="cannot be read"):
        read_prompts(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_prompts(tmp_path / "none.txt")


def configuration(merged: Merged) -> MergeConfig:
    manifest = json.loads((merged.folder / "manifest.json").read_text())
    return MergeConfig.model_validate(manifest["info"]["configuration"])


def with_lambda(config: MergeConfig, name: str, factor: float) -> MergeConfig:
    return config.settled({name: factor})
