from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semi.artifacts import config_hash, read_json, sha256_of, write_bytes, write_json
from semi.errors import ArtifactError, OutputError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(value=json_values)
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_json_bytes_do_not_depend_on_key_order(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"x": 1, "y": {"b": 2, "a": 3}})
    write_json(tmp_path / "b", {"y": {"a": 3, "b": 2}, "x": 1})
    assert sha256_of(tmp_path / "a") == sha256_of(tmp_path / "b")


def test_nan_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a", float("nan"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000], ids=["empty", "cut", "utf16", "deep"])
def test_broken_json_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"broken\.json is not JSON"):
        read_json(path)


def test_missing_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none\.json does not exist"):
        read_json(tmp_path / "none.json")


@pytest.mark.parametrize("where", ["file/below", "no/such/folder", "x" * 300], ids=["below a file", "nowhere", "long"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not be written"):
        write_bytes(tmp_path / where, b"1")


FILL_THE_DISK = """
import resource, sys
from semi.artifacts import write_bytes
from semi.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # to a process, just what a full disk is
try:
    write_bytes(sys.argv[1], bytes(5000))
except OutputError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no RLIMIT_FSIZE")
def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    write_bytes(path, b"old")
    run = subprocess.run([sys.executable, "-c", FILL_THE_DISK, str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 2, run.stderr
    assert "the disk is full" in run.stdout
    assert "5,000" in run.stdout
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@given(value=st.dictionaries(st.text(), st.integers(), min_size=2, max_size=5))
def test_config_hash_ignores_key_order_only(value: dict[str, int]) -> None:
    turned = dict(reversed(list(value.items())))
    assert config_hash(value) == config_hash(turned) == config_hash(json.loads(json.dumps(value)))
    name = next(iter(value))
    assert config_hash(value) != config_hash({**value, name: value[name] + 1})
