"""docs/merge.md: its Python runs, its files are read, and its tables have every setting."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from semi.merge.adding import AddConfig
from semi.merge.config import IOConfig, MaskConfig, MergeConfig, Method, ModelConfig, VerifyConfig
from semi.merge.methods import METHODS
from semi.yaml_config import read_config
from tests.merge.llamas import merge_llamas

PAGE = (Path(__file__).parents[2] / "docs" / "merge.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line.startswith("| `")]
METHOD = "merge."


def example(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.M | re.S)
    return str(found)


def names(kind: type[BaseModel]) -> Iterator[str]:
    return (of.alias or name for name, of in kind.model_fields.items())


def test_the_python_of_the_page_runs(
    tmp_path: Path, write_lm: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    merged = merge_llamas(tmp_path, write_lm)
    merged.folder.rename(tmp_path / "all.mmer")
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(compile(example("python"), "merge.md", "exec"), found)
    assert {"logits", "written"} <= set(found)


def test_what_is_added_on_the_page_is_read(tmp_path: Path) -> None:
    (tmp_path / "imu.yaml").write_text(example("yml"), "utf-8")
    added = read_config(tmp_path / "imu.yaml", AddConfig)
    defaults = AddConfig(name="imu", path="./imu-lora", adapter="lora")
    assert added == defaults


def test_every_setting_has_a_row() -> None:
    levels: dict[str, type[BaseModel]] = {"models.": ModelConfig, "mask.": MaskConfig, "io.": IOConfig}
    levels |= {"verify.": VerifyConfig, "": MergeConfig}
    wanted = {f"`{level}{name}`" for level, kind in levels.items() for name in names(kind)}
    wanted |= {f"`{name}`" for name in AddConfig.model_fields if name not in ModelConfig.model_fields}
    rows = [row[0] for row in ROWS if not row[0].startswith(f"`{METHOD}") and row[0].strip("`") not in METHODS]
    rows = rows[: rows.index("`max_memory`") + 1]  # what was measured comes after them
    assert set(rows) == wanted
    assert len(rows) == len(set(rows))


def test_every_setting_of_a_method_has_a_row_that_names_it() -> None:
    said: dict[str, set[str]] = defaultdict(set)
    for setting, *_, methods in (row for row in ROWS if row[0].startswith(f"`{METHOD}")):
        named = METHODS if methods == "all" else re.findall(r"`(\w+)`", methods)
        assert not said[setting] & set(named)
        said[setting] |= set(named)
    wanted: dict[str, set[str]] = defaultdict(set)
    for kind in get_args(Method):
        (method,) = get_args(kind.model_fields["method"].annotation)
        for name in names(kind):
            wanted[f"`{METHOD}{name}`"].add(method)
    assert said == wanted
