"""The parts of a server: keys, rates, texts that grow, samples in files, what listens where."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from semi.errors import InputError
from semi.modality import Modality
from semi.serve.beforehand import listen
from semi.serve.growing import GrowingText
from semi.serve.keys import MOST_CLIENTS, Keys, Rate
from semi.serve.limits import Limits
from semi.serve.refusal import Refusal
from semi.serve.samples import unpack
from semi.serve.schema import Packed, RawFile, Values, Words

LETTERS = "ab \n"
CUTS = st.lists(st.integers(0, 30), max_size=8)


@example("baa", ["a", "baa"], [2])  # the shorter one is complete before the longer one could be
@given(st.text(LETTERS, max_size=30), st.lists(st.text(LETTERS, min_size=1, max_size=3), max_size=3), CUTS)
def test_a_text_grows_to_what_it_is(text: str, stops: list[str], cuts: list[int]) -> None:
    """However it is cut, what is sent adds up to the text before the stop that is complete first, without white space
    around it."""
    growing = GrowingText(stops)
    sent = ""
    for cut in sorted(cuts):
        if not growing.stopped:
            sent += growing.grow(text[:cut])
    if not growing.stopped:
        sent += growing.grow(text, last=True)
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    assert sent == text[: min(ends)[1] if ends else len(text)].strip()
    assert growing.stopped == any(stop in text for stop in stops)


def test_half_a_character_is_held_back() -> None:
    growing = GrowingText()
    assert growing.grow("a\ufffd") == "a"
    assert growing.grow("aé") == "é"
    assert growing.grow("aé\ufffd", last=True) == "\ufffd"


@given(st.lists(st.text("abc", min_size=1), min_size=1, max_size=4, unique=True), st.text("abc", min_size=1))
def test_a_key_is_known_or_not(keys: list[str], other: str) -> None:
    known = Keys(keys)
    assert [known.which(f"Bearer {key}") for key in keys] == list(range(len(keys)))
    assert (known.which(f"bearer {other}") is None) == (other not in keys)
    assert known.which(f"Basic {keys[0]}") is None
    assert known.which("") is None
    assert not Keys([])


@given(st.lists(st.floats(0, 5), max_size=60), st.integers(1, 120))
def test_a_client_has_its_share(pauses: list[float], per_minute: int) -> None:
    now = 0.0
    rate = Rate(per_minute, lambda: now)
    allowed = 0
    for pause in pauses:
        now += pause
        wait = rate.wait("a")
        allowed += wait == 0
        assert allowed <= max(1, per_minute / 10) + now * per_minute / 60 + 1e-6
        if wait:
            now += wait + 1e-9
            assert rate.wait("a") == 0
            allowed += 1
    assert rate.wait("b") == 0


def test_clients_are_forgotten() -> None:
    rate = Rate(1, lambda: 0.0)
    assert rate.wait("a") == 0
    assert rate.wait("a") > 0
    for client in range(MOST_CLIENTS):
        rate.wait(client)
    assert rate.wait("a") == 0


class Kept(Modality):
    """Keeps what it is given."""

    name = "kept"
    instruction = "Keep it."

    def encoder(self, name: str | None = None) -> Any:
        raise NotImplementedError

    def parse(self, sample: Any, *, folder: Path | None = None) -> Any:
        path = sample.get("file") if isinstance(sample, dict) else sample
        return (sample, path.read_bytes()) if isinstance(path, Path) else sample


@given(st.lists(st.floats(-100, 100, width=32), min_size=6, max_size=6))
def test_packed_numbers_come_back(numbers: list[float]) -> None:
    expected = np.array(numbers, np.float32).reshape(2, 3)
    packed = Packed(float32=base64.b64encode(expected.tobytes()).decode(), shape=[2, 3])
    np.testing.assert_array_equal(unpack(packed, Limits()).read(Kept(), Path()), expected)
    np.testing.assert_array_equal(unpack(Values(values=expected.tolist()), Limits()).read(Kept(), Path()), expected)


def test_what_is_declared_stands_as_in_pairs_files(tmp_path: Path) -> None:
    read = unpack(Values(values=[[1, 2]], rate=50, units={"acceleration": "g"}), Limits()).read(Kept(), tmp_path)
    assert (read["rate"], read["units"]) == (50, {"acceleration": "g"})
    np.testing.assert_array_equal(read["data"], [[1, 2]])
    sent = RawFile(file=base64.b64encode(b"a,b").decode(), name="C:\\data\\x.CSV", rate=50)
    (described, content) = unpack(sent, Limits()).read(Kept(), tmp_path)
    assert described == {"file": tmp_path / "sample.csv", "rate": 50}
    assert content == b"a,b"


SMILES = ["CC(=O)Oc1ccccc1C(=O)O", "F/C=C\\F", "[Na+].[Cl-]", "C[C@H](N)C(=O)O", "c1ccc2c(c1)cccc2", "red dog."]


@pytest.mark.parametrize("text", SMILES)
def test_words_are_taken_as_they_are(text: str) -> None:
    assert unpack(Words(text=text), Limits()).read(Kept(), Path()) == text


@pytest.mark.parametrize("text", ["/a", " /a", "..", "a/../b", "~/a", '{"file": "/a"}', "\0", " "])
def test_paths_are_no_words(text: str) -> None:
    with pytest.raises(Refusal, match="400"):
        unpack(Words(text=text), Limits())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_nobody_else_is_served_without_a_key(host: str) -> None:
    with pytest.raises(InputError, match="without a key"):
        listen(host, 0, [])


def test_where_it_listens() -> None:
    with listen("127.0.0.1", 0, []) as first:
        with pytest.raises(InputError, match="cannot listen"):
            listen("127.0.0.1", first.getsockname()[1], ["key"])
        with listen("0.0.0.0", 0, ["key"]):
            pass
    for keys in ([""], [" key"], ["schlüssel"]):
        with pytest.raises(InputError, match="a key is empty or cannot be sent"):
            listen("0.0.0.0", 0, keys)


def test_limits_are_above_zero() -> None:
    for wrong in ({"samples": 0}, {"request_s": float("nan")}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Limits(**wrong)  # type: ignore[arg-type]
