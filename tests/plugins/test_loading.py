"""One plugin is loaded on demand; whatever is wrong with it becomes an error that names it and says what to do."""

from __future__ import annotations

import sys
from textwrap import dedent

import pytest

from semi.errors import AssetError, PluginError
from semi.modality import Modality
from semi.plugins import load_dataset, load_foundation, load_modality
from semi.vectors import Vectors

HOOK = "from semi.plugins import hookimpl\n"


def failure(name: str = "thing", load=load_modality) -> PluginError:
    with pytest.raises(PluginError) as caught:
        load(name)
    return caught.value


def _named(name: str) -> str:
    return f"""
        from semi.modality import Modality
        from semi.plugins import hookimpl

        class Thing(Modality):
            name = {name!r}
            instruction = "Describe it."
            def encoder(self, name=None): ...

        @hookimpl
        def semi_modality(name):
            return Thing()
    """


def test_a_good_plugin_gives_its_modality(install):
    install("fake-thing")
    modality = load_modality("thing")
    assert isinstance(modality, Modality)
    assert modality.instruction == "Describe this thing."


def test_vectors_needs_no_plugin():
    assert isinstance(load_modality("vectors"), Vectors)


def test_an_object_may_carry_the_hooks(install):
    code = """
        from pathlib import Path
        from semi.plugins import FoundationSource, hookimpl

        class Plugin:
            @hookimpl
            def semi_foundation(self, name):
                return FoundationSource(name, Path("weights"))

        plugin = Plugin()
    """
    install("fake-thing", code=code, entry_points="[semi.foundations]\nthing = fake_thing:plugin\n")
    assert load_foundation("thing").folder.name == "weights"


def test_only_the_plugin_asked_for_is_imported(install):
    install("fake-thing")
    install("other-thing", offers=["other"], code="raise RuntimeError('must not be imported')")
    load_modality("thing")
    assert "other_thing" not in sys.modules


def test_an_unknown_name_gets_the_known_ones_and_the_nearest(install):
    install("fake-thing")
    error = failure("thinf")
    assert "thinf" in str(error)
    assert "thing" in error.do
    assert "vectors" in error.expected
    assert error.exit_code == 2


def test_an_unknown_name_far_from_all_points_to_the_list():
    assert "semi plugins" in failure("qqqqqqqq", load_dataset).do


@pytest.mark.parametrize(
    ("code", "cause", "do"),
    [
        ("import a_module_nobody_has", "ModuleNotFoundError: No module named 'a_module_nobody_has'", "pip install"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence", "fake-thing"),
        ("import sys; sys.exit(3)", "SystemExit: 3", "fake-thing"),
        ("def broken(:", "SyntaxError", "fake-thing"),
    ],
    ids=["missing import", "raises", "exits", "syntax"],
)
def test_a_plugin_that_cannot_be_imported(install, code, cause, do):
    install("fake-thing", code=code)
    error = failure()
    assert "fake-thing 1.0" in error.what
    assert cause in error.got
    assert do in error.do


def test_a_target_without_the_object_it_names(install):
    install("fake-thing", entry_points="[semi.modalities]\nthing = fake_thing:plugin\n")
    assert "AttributeError" in failure().got


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("@hookimpl\ndef semi_modalty(name): ...", "semi_modalty(name)"),
        ("@hookimpl\ndef semi_render(page, size=3): ...", "semi_render(page, size=3)"),
    ],
    ids=["misspelt", "foreign"],
)
def test_a_hook_that_does_not_exist(install, code, named):
    install("fake-thing", code=HOOK + code)
    error = failure()
    assert "fake-thing" in error.what
    assert named in error.what
    assert "semi_modality(name: str)" in error.expected.replace("'", "")


@pytest.mark.parametrize("parameters", ["", "nom", "name, folder", "*, name", "name='thing'", "*names"])
def test_a_hook_with_the_wrong_parameters(install, parameters):
    install("fake-thing", code=f"{HOOK}@hookimpl\ndef semi_modality({parameters}): ...")
    error = failure()
    assert "fake-thing" in error.what
    assert "semi_modality" in error.what
    assert error.got == f"semi_modality({parameters})"
    assert "name" in error.expected


def test_a_module_without_any_hook(install):
    install("fake-thing", code="def semi_modality(name): ...")
    assert "no hook semi_modality" in failure().what


def test_a_module_with_the_hook_of_another_kind_only(install):
    install("fake-thing", code=f"{HOOK}@hookimpl\ndef semi_dataset(name): ...")
    assert failure().got == "hooks semi_dataset"


def test_a_wrapper_that_pluggy_refuses(install):
    install("fake-thing", code=f"{HOOK}@hookimpl(wrapper=True)\ndef semi_modality(name): return 3")
    assert "fake-thing" in failure().what


@pytest.mark.parametrize("value", ["None", "3", "'thing'"])
def test_a_hook_that_gives_no_modality(install, value):
    install("fake-thing", code=f"{HOOK}@hookimpl\ndef semi_modality(name): return {value}")
    error = failure()
    assert error.got == value
    assert "a Modality named 'thing'" in error.expected


def test_a_modality_of_another_name(install):
    install("fake-thing", offers=["sing"], code=_named("thing"))
    error = failure("sing")
    assert "thing" in error.got
    assert "'sing'" in error.expected


def test_a_hook_that_raises(install):
    install("fake-thing", code=f"{HOOK}@hookimpl\ndef semi_modality(name): return 1 / 0")
    assert failure().got == "ZeroDivisionError: division by zero"


def test_an_error_of_semi_in_a_hook_passes_as_it_is(install):
    raises = "@hookimpl\ndef semi_modality(name): raise AssetError('not fetched')"
    code = f"from semi.errors import AssetError\n{HOOK}{raises}"
    install("fake-thing", code=code)
    with pytest.raises(AssetError, match="not fetched"):
        load_modality("thing")


def test_incompatible_and_clashing_plugins_are_refused_without_importing_them(install):
    install("fake-thing", requires=["semi-llm>=99"], code="raise RuntimeError")
    install("fake-other", offers=["other"], code="raise RuntimeError")
    install("more-other", offers=["other"], code="raise RuntimeError")
    assert "semi-llm>=99" in failure("thing").what
    clash = failure("other").what
    assert "fake-other" in clash
    assert "more-other" in clash


def test_a_mended_plugin_loads_in_the_same_process(install, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # both versions may bear the same time stamp
    file = install("fake-thing", code=f"{HOOK}@hookimpl\ndef semi_modalty(name): ...")
    failure()
    assert "fake_thing" not in sys.modules
    file.write_text(dedent(_named("thing")))
    assert load_modality("thing").name == "thing"
