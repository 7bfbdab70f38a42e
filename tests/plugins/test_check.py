"""`semi plugins check`: whatever a plugin does at import stays in its own process, and becomes one line."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

from semi.cli import app
from semi.errors import InputError
from semi.plugins import check, list_plugins, load_modality
from semi.plugins.check import Checked, check_installed, check_source
from semi.scaffold import write_plugin

HOOK = "from semi.plugins import hookimpl\n"
SOUND = """
    import numpy as np

    from semi.errors import InputError, PairsError
    from semi.modality import Modality
    from semi.plugins import hookimpl

    class Lengths:
        id = "thing/lengths@1"
        width = 2

        def encode(self, samples):
            return np.array([[len(s), len(set(s))] for s in samples], np.float32).reshape(-1, 2)

    class Thing(Modality):
        name = "thing"
        instruction = "Describe this thing."
        examples = ("a", "bc", "ddd")

        def encoder(self, name=None):
            if name not in (None, "default"):
                raise InputError("no such encoder", got=name)
            return Lengths()

        def parse(self, sample, *, folder=None):
            if not isinstance(sample, str) or not sample:
                raise PairsError("no text", got=repr(sample))
            return sample

    @hookimpl
    def semi_modality(name):
        return Thing()
"""


def only(name: str) -> Checked:
    (found,) = [checked for checked in check_installed(name) if checked.plugin.name == name]
    return found


def test_a_sound_plugin_is_loaded_elsewhere_and_tried(install):
    install("fake-thing", code=SOUND)
    thing = only("thing")
    assert (thing.plugin.state, thing.plugin.cause, thing.plugin.fix) == ("loaded", None, None)
    assert [f for f in thing.conformance if f.state == "failed"] == []
    assert sum(f.state == "passed" for f in thing.conformance) >= 20
    assert thing.fine
    assert "fake_thing" not in sys.modules


BROKEN = {
    "raises": ("raise RuntimeError('one\\ntwo')", "RuntimeError: one two"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "ends the process": ("import os; os._exit(7)", "ended the process with exit code 7"),
    "is killed": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "by signal SIGKILL"),
    "crashes": ("import faulthandler; faulthandler._sigsegv()", "by signal SIGSEGV"),
    "asks": ("input('licence? ')", "EOFError"),
    "syntax": ("def broken(:", "SyntaxError"),
    "missing": ("import a_module_nobody_has", "No module named 'a_module_nobody_has'"),
    "other hooks": ("api_version = 9", "api_version = 9"),
    "no hooks": ("", "has no hook semi_modality"),
    "breaks at load": (f"{HOOK}@hookimpl\ndef semi_modality(name): return 1 / 0", "ZeroDivisionError"),
    "exits at load": (f"{HOOK}@hookimpl\ndef semi_modality(name): raise SystemExit(2)", "SystemExit: 2"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_plugin_is_one_line_with_a_fix(install, how):
    code, cause = BROKEN[how]
    install("fake-thing", code=code)
    thing = only("thing")
    assert thing.plugin.state == "failed"
    assert cause in thing.plugin.cause
    assert "\n" not in thing.plugin.cause
    assert "pip install" in thing.plugin.fix
    assert not thing.fine
    assert thing.conformance == []


@pytest.mark.parametrize("noise", ["print('hello')", "import os; os.write(1, b'{\"done\": true}\\n')"])
def test_a_plugin_that_prints_does_not_disturb(install, noise):
    install("fake-thing", code=f"{noise}\n{dedent(SOUND)}")
    assert only("thing").plugin.state == "loaded"


def test_a_plugin_that_hangs_at_import(install, monkeypatch):
    """Whatever it started ends with it, and the others are checked nevertheless."""
    monkeypatch.setattr(check, "LOAD_LIMIT", 2.0)
    install("fake-hang", offers=["hang", "hang-too"], code="import time; time.sleep(600)")
    install("fake-thing")
    begin = time.monotonic()
    found = {checked.plugin.name: checked.plugin for checked in check_installed("fake-hang")}
    assert time.monotonic() - begin < 20
    for name in ("hang", "hang-too"):
        assert found[name].state == "failed"
        assert found[name].cause == "loading it hangs: no end after 2 seconds"
        assert "fake-hang" in found[name].fix
    assert only("thing").plugin.state == "loaded"


def test_the_limit_is_ten_seconds():
    assert check.LOAD_LIMIT == 10


def test_one_plugin_that_fails_halfway(install):
    """Both names are in one process: the second is judged although the first failed."""
    install("fake-thing", offers=["missing", "thing"])
    states = {checked.plugin.name: checked.plugin.state for checked in check_installed("fake-thing")}
    assert states == {"missing": "failed", "thing": "loaded"}


def test_what_metadata_tells_is_not_loaded(install, monkeypatch):
    install("fake-thing", requires=["semi-llm>=99"], code="import time; time.sleep(600)")
    assert only("thing").plugin.state == "incompatible"
    install("fake-other", offers=["other"], code="import time; time.sleep(600)")
    monkeypatch.setenv("SEMI_LOAD_PLUGINS", "fake-thing")
    other = only("other")
    assert other.plugin.state == "blocked"
    assert other.fine


def test_an_unknown_name_gets_the_nearest(install):
    install("fake-thing")
    with pytest.raises(InputError, match="'fake-thinf'") as caught:
        check_installed("fake-thinf")
    assert "fake-thing" in caught.value.do


def test_a_modality_that_does_not_conform(install):
    install("fake-thing", code=SOUND.replace("np.float32", "np.float64"))
    thing = only("thing")
    assert thing.plugin.state == "loaded"
    assert not thing.fine
    failed = {f.check: f.message for f in thing.conformance if f.state == "failed"}
    assert set(failed) == {"dtype", "empty_batch"}
    assert failed["dtype"].splitlines() == [
        "embeddings have the wrong type",
        "  got: float64",
        "  expected: float32",
        "  do this: return embeddings.astype(numpy.float32)",
    ]


def test_an_encoder_that_ends_the_process(install):
    install("fake-thing", code=SOUND.replace("return np.array", "import os; os._exit(5); return np.array"))
    *_, last = only("thing").conformance
    assert last.state == "failed"
    assert "ended the process with exit code 5" in last.message


def test_samples_come_from_a_data_set_of_the_same_plugin(install):
    code = dedent(SOUND).replace('    examples = ("a", "bc", "ddd")\n', "") + dedent("""
        from semi.modality import Dataset
        from semi.pairs import Pair

        class Words(Dataset):
            name, modality, licence = "words", "thing", "CC0-1.0"

            def pairs(self, split="train"):
                return [Pair(word, word) for word in ("one", "three", "seven", "x")]

        @hookimpl
        def semi_dataset(name):
            return Words()
    """)
    install("fake-thing", code=code)
    (alone,) = only("thing").conformance
    assert alone.state == "skipped"
    assert "no examples" in alone.message
    entries = "[semi.modalities]\nthing = fake_other\n[semi.datasets]\nwords = fake_other\n"
    install("fake-other", code=code.replace('"thing"', '"third"'), entry_points=entries.replace("thing =", "third ="))
    third = only("third").conformance
    assert sum(f.state == "passed" for f in third) >= 20


class TestSource:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return write_plugin("fake-source", tmp_path)

    def test_a_source_folder_is_checked_without_installing_it(self, folder):
        found = {c.plugin.name: c for c in check_source(folder)}
        assert set(found) == {"fake-source", "fake-source-tones"}
        assert {c.plugin.state for c in found.values()} == {"loaded"}
        assert {f.state for f in found["fake-source"].conformance} == {"passed"}
        assert not [p for p in list_plugins() if p.name.startswith("fake-source")]
        assert not list(folder.rglob("*.egg-info"))

    def test_a_mistake_in_it_is_found(self, folder):
        module = folder / "src" / "semi_plugin_fake_source" / "plugin.py"
        module.write_text("import a_module_nobody_has\n")
        assert {c.plugin.state for c in check_source(folder)} == {"failed"}

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (None, "no source folder of a plugin"),
            ("[project", "no source folder of a plugin"),
            ("[project]\nversion = '1'\n", "names no project"),
            ("[project]\nname = 'x'\n", "no entry point of semi"),
            ("[project]\nname = 'x'\n[project.entry-points.other]\na = 'b'\n", "no entry point of semi"),
        ],
    )
    def test_what_is_no_plugin_is_refused(self, tmp_path, text, says):
        if text is not None:
            (tmp_path / "pyproject.toml").write_text(text)
        with pytest.raises(InputError, match=says):
            check_source(tmp_path)


class TestCommandLine:
    def run(self, *arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["plugins", "check", *arguments])
        assert not isinstance(result.exception, Exception), result.exception
        return result.exit_code, result.stdout, result.stderr

    def test_a_sound_plugin(self, install):
        install("fake-thing", code=SOUND)
        code, out, _ = self.run("fake-thing")
        assert code == 0
        assert "loaded" in out
        assert " 0 failed" in out

    def test_a_broken_one_ends_with_1_and_says_what_to_do(self, install):
        install("fake-thing", code="raise RuntimeError('no licence')")
        code, out, _ = self.run("thing")
        assert code == 1
        assert "RuntimeError: no licence" in out
        assert "do this: pip install --upgrade fake-thing, or report it to its authors" in out

    def test_one_that_does_not_conform_ends_with_1(self, install):
        install("fake-thing", code=SOUND.replace("np.float32", "np.float64"))
        code, out, _ = self.run("thing")
        assert code == 1
        assert "2 failed" in out
        assert "failed dtype (default): embeddings have the wrong type" in out

    def test_json(self, install):
        install("fake-thing", code=SOUND)
        code, out, _ = self.run("thing", "--json")
        (row,) = json.loads(out)["plugins"]
        assert code == 0
        assert set(row) == {"name", "kind", "distribution", "version", "state", "cause", "fix", "conformance"}
        assert {frozenset(finding) for finding in row["conformance"]} == {
            frozenset({"check", "encoder", "state", "message"})
        }

    def test_an_unknown_name_is_wrong_usage(self):
        code, _, err = self.run("qqqqqqqq")
        assert code == 2
        assert "source folder" in err

    def test_the_folder_here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(write_plugin("fake-here", tmp_path))
        code, out, _ = self.run(".")
        assert code == 0, out
        assert "modality fake-here: " in out


def test_a_healthy_modality_works_among_plugins_of_every_kind_of_broken(install, semi_among_broken):
    """What `semi plugins` lists and what a healthy modality does depend on no other plugin."""
    install("fake-thing", code=SOUND)
    assert load_modality("thing").encoder().encode(["abc"]).tolist() == [[3, 3]]
    result = CliRunner().invoke(app, ["plugins", "--json"])
    states = {row["name"]: row["state"] for row in json.loads(result.stdout)["plugins"]}
    assert result.exit_code == 0
    assert states["thing"] in ("available", "loaded")
    for name, state in semi_among_broken.items():
        assert states[name] == state


@pytest.fixture
def semi_among_broken(install) -> dict[str, str]:
    """Plugins that are broken in every way, and the states they are listed in."""
    install("fake-raises", offers=["raises"], code="raise RuntimeError")
    install("fake-load", offers=["load"], code=f"{HOOK}@hookimpl\ndef semi_modality(name): raise RuntimeError")
    install("fake-version", offers=["version"], requires=["semi-llm>=99"])
    install("fake-clash-a", offers=["clash"])
    install("fake-clash-b", offers=["clash"])
    install("fake-hangs", offers=["hangs"], code="import time; time.sleep(600)")
    install("fake-half", offers=["half"])
    install("fake-exits", offers=["exits"], code="import os; os._exit(3)")
    install("fake-verb", kind="commands", offers=["verb"], code="import os; os._exit(3)")
    return {
        "raises": "available",
        "load": "available",
        "version": "incompatible",
        "clash": "clash",
        "hangs": "available",
        "half": "available",
        "exits": "available",
        "verb": "available",
    }
