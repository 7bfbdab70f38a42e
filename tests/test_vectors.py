"""The built-in modality: vectors come back as they are, or are refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semi.errors import InputError, PairsError
from semi.pairs_io import read_pairs
from semi.plugins import load_modality
from semi.vectors import Vectors

vectors = Vectors()
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(arrays(np.float32, st.integers(1, 40), elements=finite))
def test_every_form_of_a_vector_gives_the_same_float32(vector):
    for form in (vector, vector.tolist(), json.dumps(vector.tolist()), vector.astype(np.float64)):
        parsed = vectors.parse(form)
        assert parsed.dtype == np.float32
        np.testing.assert_array_equal(parsed, vector)


def test_a_file_is_found_below_the_folder(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(5))
    np.testing.assert_array_equal(vectors.parse("a.npy", folder=tmp_path), np.arange(5, dtype=np.float32))
    np.testing.assert_array_equal(vectors.parse(tmp_path / "a.npy"), np.arange(5, dtype=np.float32))


@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=finite))
def test_the_encoder_is_the_identity_of_any_width(table):
    encoder = vectors.encoder()
    assert encoder.width is None
    np.testing.assert_array_equal(encoder.encode(list(table)), table)
    assert encoder.width == table.shape[1]
    assert encoder.encode([]).shape == (0, table.shape[1])


def test_most_vectors_of_the_first_batch_fix_the_width():
    encoder = vectors.encoder()
    with pytest.raises(InputError, match="another width") as refused:
        encoder.encode([[5.0], [1.0, 2.0], [3.0, 4.0]])
    assert (refused.value.got, refused.value.expected) == ("1 numbers", "2 numbers")
    encoder.encode([[1.0, 2.0]])
    with pytest.raises(InputError, match="another width"):
        encoder.encode([[1.0, 2.0, 3.0]])


def test_no_vectors_have_no_width():
    with pytest.raises(InputError, match="no vectors"):
        vectors.encoder().encode([])


def test_there_is_one_encoder():
    with pytest.raises(InputError, match="'clip'"):
        vectors.encoder("clip")
    assert vectors.encoder("default").id == load_modality("vectors").encoder().id


@pytest.mark.parametrize(
    ("sample", "named"),
    [
        ([1.0, float("nan"), 2.0], "entry 2"),
        ([float("-inf")], "entry 1"),
        ([1e39], "entry 1"),
        ("[1, NaN]", "entry 2"),
        ([1, "2"], "entry 2"),
        ([1, None], "entry 2"),
        ([True, False], "entry 1"),
        ([[1.0], [2.0]], "entry 1"),
        ([10**400], "beyond float64"),
        ([], "not a vector"),
        (3.0, "not a vector"),
        (None, "not a vector"),
        ({"x": 1}, "not a vector"),
        (np.zeros((2, 2)), "not a vector"),
        (np.array(["a"]), "not a vector"),
        (np.zeros(3, complex), "not a vector"),
        ("[1, 2", "broken JSON"),
        ("missing.npy", "missing.npy"),
        ("", "cannot be read"),
    ],
    ids=repr,
)
def test_what_is_no_finite_vector_is_refused(sample, named, tmp_path):
    with pytest.raises(PairsError, match=named):
        vectors.parse(sample, folder=tmp_path)


def test_files_that_are_no_vector(tmp_path):
    np.save(tmp_path / "whole.npy", np.arange(100.0))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-9])
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "text.npy").write_text("1, 2, 3")
    np.save(tmp_path / "nan.npy", np.array([0, np.nan]))
    np.savez(tmp_path / "several.npz", a=np.zeros(2), b=np.zeros(2))
    for name in ("cut.npy", "empty.npy", "text.npy", "nan.npy", "several.npz"):
        with pytest.raises(PairsError, match=name):
            vectors.parse(name, folder=tmp_path)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("something pickled was run",))


def test_nothing_pickled_is_ever_run(tmp_path):
    np.save(tmp_path / "trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(PairsError, match=r"trap\.npy"):
        vectors.parse("trap.npy", folder=tmp_path)


def test_vectors_of_another_width_than_most_are_named_before_any_work(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = ['{"sample": [1, 2], "caption": "a"}'] * 3
    path.write_text("\n".join([rows[0], '{"sample": [1, 2, 3], "caption": "b"}', *rows]))
    with pytest.raises(PairsError, match="line 2: the vector has another width") as refused:
        read_pairs(path, modality=vectors)
    assert (refused.value.got, refused.value.expected) == ("3 numbers", "2 numbers")
    found = read_pairs(path, modality=vectors, skip_bad=True)
    assert len(found.pairs) == 4
    assert found.skipped == ["line 2: the vector has another width (got 3 numbers)"]


def test_a_window_of_vectors_is_their_mean():
    window = vectors.window(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]]), 50.0)
    np.testing.assert_array_equal(window, np.array([3.0, 5.0], np.float32))
    with pytest.raises(PairsError, match="not finite in float32"):
        vectors.window(np.full((2, 2), 1e200), 50.0)
