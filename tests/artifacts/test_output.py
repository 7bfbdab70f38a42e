from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from semi.artifacts import Checkpoint, OutputFolder, open_output, read_manifest, require_free, write_json
from semi.errors import ArtifactError, OutputError, PairsError


def claim(out: Path, *, force: bool = False, **config: Any) -> OutputFolder:
    return open_output(out, kind="integration", config=config or {"seed": 1}, force=force)


def make(out: Path, text: str = "done") -> None:
    with claim(out) as output:
        write_json(output.path / "c.json", text)
        output.finish(["c.json"], {})


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_a_finished_folder_holds_its_files_and_the_manifest_only(tmp_path: Path) -> None:
    with claim(tmp_path / "a/b") as output:
        assert not output.resuming
        Checkpoint(output.path).save(1, {"w": torch.ones(1)}, {})
        write_json(output.path / "c.json", 1)
        output.finish(["c.json"], {"loss": 0.5})
    assert names(tmp_path / "a/b") == {"c.json", "manifest.json"}
    assert read_manifest(tmp_path / "a/b", "integration")["info"] == {"loss": 0.5}


@pytest.mark.parametrize("force", [False, True])
def test_files_in_folders_stay_and_are_moved(tmp_path: Path, force: bool) -> None:
    if force:
        make(tmp_path / "a", "old")
    with claim(tmp_path / "a", force=force) as output:
        (output.path / "in" / "deep").mkdir(parents=True)
        write_json(output.path / "in" / "deep" / "c.json", 1)
        (output.path / "scratch").mkdir()
        output.finish(["in/deep/c.json"], {})
    assert names(tmp_path / "a") == {"in", "manifest.json"}
    assert (tmp_path / "a/in/deep/c.json").read_text() == "1\n"
    assert set(read_manifest(tmp_path / "a", "integration")["files"]) == {"in/deep/c.json"}


def test_a_complete_folder_is_not_touched(tmp_path: Path) -> None:
    make(tmp_path / "out")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").iterdir()}
    with pytest.raises(OutputError, match="complete already"):
        claim(tmp_path / "out")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").iterdir()} == before


def fail(out: Path, error: Exception, **config: Any) -> None:
    with claim(out, **config) as output:
        write_json(output.path / "half.json", 1)
        raise error


def interrupt(out: Path, **config: Any) -> None:
    with pytest.raises(RuntimeError):
        fail(out, RuntimeError(), **config)


def test_an_interrupted_run_resumes_with_the_same_configuration(tmp_path: Path) -> None:
    interrupt(tmp_path / "out")
    (tmp_path / "out/.w.safetensors.123.part").write_bytes(b"torn")
    with claim(tmp_path / "out") as output:
        assert output.resuming
        assert names(output.path) == {"run.json", "run.lock", "half.json"}


def test_an_interrupted_run_of_another_configuration_is_refused_with_the_difference(tmp_path: Path) -> None:
    interrupt(tmp_path / "out", seed=1, steps=5)
    with pytest.raises(OutputError, match="seed: 1 there, 2 now") as caught:
        claim(tmp_path / "out", seed=2, steps=5)
    assert "steps" not in str(caught.value)
    assert names(tmp_path / "out") == {"run.json", "half.json"}
    with pytest.raises(OutputError, match="integration there, embeddings now"):
        open_output(tmp_path / "out", kind="embeddings", config={"seed": 1, "steps": 5})


def content(folder: Path) -> dict[str, bytes]:
    """Every file that a run left or made, byte for byte."""
    paths = [p for p in folder.rglob("*") if p.is_file() and p.name != "run.lock"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


@pytest.mark.parametrize("begin", [make, interrupt])
def test_force_starts_afresh_and_replaces_the_old_when_the_new_is_complete(tmp_path: Path, begin: Any) -> None:
    begin(tmp_path / "out")
    (tmp_path / "out/folder/inside").mkdir(parents=True)
    before = content(tmp_path / "out")
    with claim(tmp_path / "out", force=True) as output:
        assert not output.resuming
        assert names(output.path) == {"run.json"}
        write_json(output.path / "new.json", 2)
        Checkpoint(output.path).save(1, {"w": torch.ones(1)}, {})
        assert before.items() <= content(tmp_path / "out").items()
        output.finish(["new.json"], {"loss": 0.25})
    assert names(tmp_path / "out") == {"new.json", "manifest.json"}
    assert read_manifest(tmp_path / "out", "integration")["info"] == {"loss": 0.25}


@pytest.mark.parametrize("begin", [make, interrupt])
@pytest.mark.parametrize("error", [PairsError("sample 3 is bad"), OutputError("the disk is full")], ids=["bad", "full"])
def test_a_forced_run_that_fails_loses_nothing(tmp_path: Path, begin: Any, error: Exception) -> None:
    begin(tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(type(error)), claim(tmp_path / "out", force=True, seed=2):
        raise error
    assert content(tmp_path / "out") == before
    assert "run.new" not in names(tmp_path / "out")


def test_an_interrupted_forced_run_resumes_beside_the_old_result(tmp_path: Path) -> None:
    make(tmp_path / "out")
    interrupt(tmp_path / "out", force=True, seed=2)
    assert read_manifest(tmp_path / "out", "integration")["files"].keys() == {"c.json"}
    require_free(tmp_path / "out", kind="integration", known={"seed": 2})
    with pytest.raises(OutputError, match="complete already"):
        claim(tmp_path / "out", seed=3)
    with claim(tmp_path / "out", seed=2) as output:
        assert output.resuming
        assert names(output.path) == {"run.json", "half.json"}
        output.finish(["half.json"], {})
    assert names(tmp_path / "out") == {"half.json", "manifest.json"}


def test_force_starts_afresh_over_an_interrupted_forced_run(tmp_path: Path) -> None:
    make(tmp_path / "out")
    for seed in (2, 2, 3):
        interrupt(tmp_path / "out", force=True, seed=seed)
    with claim(tmp_path / "out", force=True, seed=3) as output:
        assert not output.resuming
        assert names(output.path) == {"run.json"}
    assert read_manifest(tmp_path / "out", "integration")["files"].keys() == {"c.json"}


def replaced(out: Path, *, force: bool = False) -> None:
    """A run with two files over what `make` left."""
    with claim(out, force=force, seed=2) as output:
        assert output.resuming == (not force)
        write_json(output.path / "a.json", "new a")
        write_json(output.path / "c.json", "new c")
        output.finish(["a.json", "c.json"], {})


def kill_while_replacing(out: Path, *, moved: int) -> None:
    """A complete folder, and a forced run over it that is stopped after `moved` of the three files were renamed."""
    make(out)
    rename, left = Path.replace, iter(range(moved))

    def stop(source: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return rename(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            replaced(out, force=True)


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_killed_while_it_replaces_the_old_a_run_resumes(tmp_path: Path, moved: int) -> None:
    out = tmp_path / "out"
    kill_while_replacing(out, moved=moved)
    with pytest.raises(ArtifactError, match="incomplete"):
        read_manifest(out, "integration")
    with pytest.raises(OutputError, match="seed: 2 there, 3 now"):
        claim(out, seed=3)
    replaced(out)
    assert names(out) == {"a.json", "c.json", "manifest.json"}
    read_manifest(out, "integration")


def test_what_a_killed_replacement_left_can_be_forced_and_discarded(tmp_path: Path) -> None:
    out = tmp_path / "out"
    kill_while_replacing(out, moved=1)
    with pytest.raises(PairsError):
        fail(out, PairsError("sample 3 is bad"), force=True, seed=3)
    make(out)


def test_a_folder_is_refused_early_by_what_is_known(tmp_path: Path) -> None:
    out = tmp_path / "out"
    require_free(out)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="not a folder"):
        require_free(tmp_path / "file", force=True)
    with pytest.raises(OutputError, match="not made by semi"):
        require_free(tmp_path, force=True)
    interrupt(out, seed=1, model="m")
    require_free(out)
    require_free(out, kind="integration", known={"seed": 1})
    require_free(out, kind="integration", known={"seed": 2}, force=True)
    with pytest.raises(OutputError, match="integration there, embeddings now"):
        require_free(out, kind="embeddings")
    with pytest.raises(OutputError, match="got: seed: 1 there, 2 now\n"):
        require_free(out, kind="integration", known={"seed": 2})
    with claim(out, seed=1, model="m") as output:
        output.finish(["half.json"], {})
    require_free(out, force=True)
    with pytest.raises(OutputError, match="complete already"):
        require_free(out)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "manifest.json", "run.json"])
def test_a_folder_of_somebody_else_is_never_emptied(tmp_path: Path, name: str, force: bool) -> None:
    (tmp_path / name).write_text('{"name": "my extension"}')
    with pytest.raises(OutputError, match="was not made by semi"):
        claim(tmp_path, force=force)
    assert names(tmp_path) == {name}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is not a folder"):
        claim(tmp_path / "file")
    with pytest.raises(OutputError, match="could not be written"):
        claim(tmp_path / "file/below")


def test_killed_between_manifest_and_tidying_finishes_on_resume(tmp_path: Path) -> None:
    make(tmp_path / "finished")
    manifest = (tmp_path / "finished/manifest.json").read_bytes()
    interrupt(tmp_path / "out")
    (tmp_path / "out/manifest.json").write_bytes(manifest)
    with claim(tmp_path / "out") as output:
        assert output.resuming
        assert "manifest.json" not in names(output.path)


def test_bad_input_found_late_leaves_nothing(tmp_path: Path) -> None:
    bad = PairsError("sample 3 is bad")
    with pytest.raises(PairsError):
        fail(tmp_path / "a/b", bad)
    assert not (tmp_path / "a").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(PairsError):
        fail(tmp_path / "mine", bad)
    assert names(tmp_path / "mine") == set()
    with pytest.raises(OutputError):
        fail(tmp_path / "full", OutputError("the disk is full"))
    assert names(tmp_path / "full") == {"run.json", "half.json"}  # resumable once there is space
    with pytest.raises(PairsError):
        fail(tmp_path / "full", bad)
    assert names(tmp_path / "full") == {"run.json", "half.json"}  # not begun by this run


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with claim(tmp_path / "out"):
        with pytest.raises(OutputError, match="in use by another run"):
            claim(tmp_path / "out")
        script = (
            "import sys; from semi.artifacts import open_output\n"
            "open_output(sys.argv[1], kind='integration', config={'seed': 1})"
        )
        other = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "out")], capture_output=True, text=True, check=False
        )
        assert "in use by another run" in other.stderr
    with claim(tmp_path / "out") as output:
        assert output.resuming


HOLD = """
import sys, time
from semi.artifacts import open_output
with open_output(sys.argv[1], kind="integration", config={"seed": 1}):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_run_does_not_lock_its_folder(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(OutputError, match="in use by another run"):
        claim(tmp_path / "out")
    process.kill()
    process.communicate()
    assert "run.lock" in names(tmp_path / "out")
    with claim(tmp_path / "out") as output:
        assert output.resuming


def test_run_json_tells_people_what_was_begun(tmp_path: Path) -> None:
    with claim(tmp_path / "out", seed=7) as output:
        begun = json.loads((output.path / "run.json").read_text())
    assert begun["config"] == {"seed": 7}
    assert begun["kind"] == "integration"


def test_a_run_killed_while_it_wrote_run_json_is_no_obstacle(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".run.json.123.part").write_text('{"ki')
    with open_output(out, kind="embeddings", config={}) as folder:
        assert not folder.resuming
