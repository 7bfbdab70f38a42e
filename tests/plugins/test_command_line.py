"""`semi plugins` and `semi doctor` among plugins that are broken in every way."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from semi.cli import app
from semi_kernels import configurations, dispatch


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert not isinstance(result.exception, Exception), result.exception
    return result.exit_code, result.stdout


def checks() -> tuple[int, dict[str, dict[str, str]]]:
    code, text = run("doctor", "--json")
    return code, {check["name"]: check for check in json.loads(text)["checks"]}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SEMI_CACHE", str(folder))
    return folder


def test_plugins_as_json(install):
    install("fake-thing", requires=["semi-llm>=99"])
    code, text = run("plugins", "--json")
    assert code == 0
    (thing,) = [plugin for plugin in json.loads(text)["plugins"] if plugin["name"] == "thing"]
    assert set(thing) == {"name", "kind", "distribution", "version", "state", "cause", "fix"}
    assert thing["state"] == "incompatible"


def test_plugins_for_people_tells_cause_and_fix(install):
    install("fake-thing")
    install("other-thing")
    code, text = run("plugins")
    assert code == 0
    assert text.count("clash") == 2
    assert "fake-thing 1.0 and other-thing 1.0 offer the same modality" in text
    assert "do this: " in text


def test_doctor_tells_a_good_plugin_from_a_broken_one(install):
    install("fake-thing")
    install("fake-broken", offers=["broken"], code="import a_module_nobody_has")
    code, found = checks()
    assert code == 1
    assert found["modality thing"]["state"] == "ok"
    assert found["modality broken"]["state"] == "fail"
    assert "a_module_nobody_has" in found["modality broken"]["cause"]
    assert "pip install" in found["modality broken"]["fix"]


def test_every_check_is_one_line_and_tells_what_to_do(install):
    install("fake-broken", offers=["broken"], code="raise RuntimeError('one\\ntwo')")
    _, found = checks()
    assert {
        "semi",
        "python",
        "torch",
        "transformers",
        "triton",
        "bitsandbytes",
        "gpu",
        "kernels",
        "cpu",
        "cache",
    } <= set(found)
    for check in found.values():
        assert set(check) == {"name", "state", "cause", "fix"}
        assert "\n" not in check["cause"]
        assert check["state"] == "ok" or check["fix"]


def test_doctor_misses_what_was_not_fetched():
    _, found = checks()
    assert found["asset smollm2-135m"]["state"] == "warn"
    assert found["asset smollm2-135m"]["fix"] == "semi fetch smollm2-135m"


def test_a_cache_that_cannot_be_written_to(own_cache, monkeypatch):
    file = own_cache / "file"
    file.write_text("not a folder")
    monkeypatch.setenv("SEMI_CACHE", str(file))
    code, found = checks()
    assert code == 1
    assert found["cache"]["state"] == "fail"
    assert "SEMI_CACHE" in found["cache"]["fix"]


def pretend_installed(site: Path, name: str, version: str) -> None:
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_the_unrelated_package_of_the_same_import_name_is_noticed(site):
    pretend_installed(site, "semi", "0.3")
    code, found = checks()
    assert code == 1
    assert found["semi"]["state"] == "fail"
    assert "unrelated" in found["semi"]["cause"]
    assert "pip uninstall --yes semi" in found["semi"]["fix"]


def test_an_installed_core_elsewhere_is_noticed(site):
    """semi is imported from one place while pip installed it in another."""
    pretend_installed(site, "semi-llm", metadata.version("semi-llm"))
    code, found = checks()
    assert code == 1
    assert str(site / "semi") in found["semi"]["cause"]


KERNELS = {
    None: ("ok", "the PyTorch reference, because there is no GPU (SEMI_KERNELS=auto)"),
    "reference": ("ok", "the PyTorch reference, because SEMI_KERNELS=reference"),
    "fast": ("fail", "got 'fast', expected auto, triton, reference"),
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
@pytest.mark.parametrize("chosen", KERNELS)
def test_doctor_tells_what_computes_and_why(monkeypatch, chosen):
    monkeypatch.delenv("SEMI_KERNELS", raising=False)
    if chosen:
        monkeypatch.setenv("SEMI_KERNELS", chosen)
    state, cause = KERNELS[chosen]
    found = checks()[1]["kernels"]
    assert found["state"] == state
    assert cause in found["cause"]


def test_doctor_tells_why_triton_cannot_run(monkeypatch):
    monkeypatch.setenv("SEMI_KERNELS", "triton")
    monkeypatch.setattr(dispatch, "has_triton", lambda: False)
    found = checks()[1]["kernels"]
    assert (found["state"], found["fix"]) == ("fail", "unset SEMI_KERNELS")
    assert "triton is not installed" in found["cause"]


def test_doctor_names_the_gpu_and_the_configuration_nearest_to_it(monkeypatch):
    triton = pytest.importorskip("triton")
    monkeypatch.delenv("SEMI_KERNELS", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda *size, device: torch.zeros(*size))
    monkeypatch.setattr(configurations, "gpu", lambda device: configurations.Gpu("NVIDIA RTX 9999", (9, 0), 128, 2**17))
    monkeypatch.setattr(dispatch, "use_triton", lambda *tensors: True)
    found = checks()[1]["kernels"]
    expected = f"Triton {triton.__version__} on NVIDIA RTX 9999, configured as NVIDIA H200 (SEMI_KERNELS=auto)"
    assert (found["state"], found["cause"]) == ("ok", expected)
    monkeypatch.setattr(dispatch, "use_triton", lambda *tensors: False)
    found = checks()[1]["kernels"]
    assert (found["state"], found["fix"]) == ("warn", "pip install 'semi-llm[kernels]'")


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    monkeypatch.setattr("semi.doctor.cache_dir", lambda: 1 / 0)
    code, found = checks()
    assert code == 1
    assert "ZeroDivisionError" in found["cache"]["cause"]
    assert found["python"]["state"] == "ok"
