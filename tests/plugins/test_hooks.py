"""Every hook is documented in docs/write-a-plugin.md and exercised here, through an installed plugin of its kind."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semi.modality import Dataset, Modality
from semi.pairs import Pair
from semi.plugins import API_VERSION, FoundationSource, Metric, hookspecs, load, load_command, load_metric
from semi.plugins.listing import GROUPS

PAGE = (Path(__file__).parents[2] / "docs" / "write-a-plugin.md").read_text("utf-8")
HEAD = "from semi.plugins import FoundationSource, Metric, hookimpl\nfrom semi.modality import Dataset, Modality\n"
HOOKS = [name for name in vars(hookspecs) if name.startswith("semi_")]

# What a plugin answers, and what semi makes of it. A hook without an example fails the test below.
EXAMPLES: dict[str, tuple[str, str, Callable[[Any], bool]]] = {
    "semi_modality": (
        "class Thing(Modality):\n    name = 'thing'\n    instruction = 'Look.'\n    def encoder(self, name=None): ...",
        "Thing()",
        lambda thing: isinstance(thing, Modality) and thing.instruction == "Look.",
    ),
    "semi_dataset": (
        "class Things(Dataset):\n    name = 'thing'\n    modality = 'vectors'\n    licence = 'CC0-1.0'\n"
        "    def pairs(self, split='train'): return []",
        "Things()",
        lambda thing: isinstance(thing, Dataset) and thing.pairs() == [],
    ),
    "semi_foundation": (
        "from pathlib import Path",
        "FoundationSource(name, Path('weights'))",
        lambda thing: isinstance(thing, FoundationSource) and thing.folder.name == "weights",
    ),
    "semi_metric": (
        "class Words(Metric):\n    name = 'thing'\n"
        "    def score(self, texts, pairs): return sum(len(t.split()) for t in texts) / len(pairs)",
        "Words()",
        lambda thing: isinstance(thing, Metric) and thing.score(["a b", "c d"], [Pair(1, "a"), Pair(2, "b")]) == 2,
    ),
    "semi_command": (
        "import typer\napp = typer.Typer()\n@app.command()\ndef main(): typer.echo('done')",
        "app",
        lambda thing: hasattr(thing, "registered_commands"),
    ),
}


def test_every_hook_is_exercised() -> None:
    assert set(HOOKS) == set(EXAMPLES), "give every hook an example"
    assert set(HOOKS) == {f"semi_{kind}" for kind in GROUPS}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_works(install: Any, hook: str) -> None:
    kind = hook.removeprefix("semi_")
    setup, answer, works = EXAMPLES[hook]
    code = f"{HEAD}{setup}\n@hookimpl\ndef {hook}(name): return {answer} if name == 'thing' else None"
    install("fake-thing", kind=GROUPS[kind].removeprefix("semi."), code=code)  # type: ignore[index]
    assert works(load(kind, "thing"))  # type: ignore[arg-type]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_documented(hook: str) -> None:
    group = GROUPS[hook.removeprefix("semi_")]  # type: ignore[index]
    assert inspect.getdoc(getattr(hookspecs, hook))
    assert re.search(rf"^\| `{group}` \| `{hook}\(name\)` \|", PAGE, re.M), f"{hook} is not in the table of hooks"
    assert re.search(rf"^def {hook}\(name: str\)", PAGE, re.M), f"no example of {hook}"


def test_version_1_of_every_hook_takes_a_name_and_nothing_else() -> None:
    """What a hook gains, plugins may leave out (below), and this table grows with it."""
    assert API_VERSION == 1
    assert {hook: [*inspect.signature(getattr(hookspecs, hook)).parameters] for hook in HOOKS} == {
        hook: ["name"] for hook in HOOKS
    }


def test_a_plugin_may_leave_out_what_a_hook_gained(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    @hookspecs.hookspec(firstresult=True)
    def semi_modality(name: str, folder: Path) -> None: ...

    monkeypatch.setattr(hookspecs, "semi_modality", semi_modality)
    install("fake-thing")
    with pytest.warns(Warning, match="folder"):  # this semi does not give it yet
        assert load("modality", "thing").name == "thing"


def test_what_is_no_metric_or_verb_is_refused(install: Any) -> None:
    code = f"{HEAD}@hookimpl\ndef semi_metric(name): return 3\n@hookimpl\ndef semi_command(name): return print"
    entries = "[semi.metrics]\nthing = fake_thing\n[semi.commands]\nthing = fake_thing\n"
    install("fake-thing", code=code, entry_points=entries)
    with pytest.raises(Exception, match="gave something else") as caught:
        load_metric("thing")
    assert "a Metric named 'thing'" in str(caught.value)
    with pytest.raises(Exception, match="gave something else") as caught:
        load_command("thing")
    assert "a typer.Typer or a click.Command" in str(caught.value)
