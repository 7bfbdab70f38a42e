"""Values in few words."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semi.brief import brief


@given(st.one_of(st.text(), st.lists(st.integers()), st.dictionaries(st.text(), st.floats())), st.integers(8, 90))
def test_a_value_takes_one_line_of_no_more_than_it_is_given(value, most):
    text = brief(value, most)
    assert len(text) <= most
    assert len(text.splitlines()) <= 1


def test_short_text_is_left_as_it_is():
    assert brief("CC(=O)O") == "CC(=O)O"


def test_of_a_long_path_the_end_is_kept():
    path = f"/data/{'deep/' * 30}m31.png"
    assert brief(path, 40).endswith("deep/m31.png")
    assert len(brief(Path(path), 40)) == 40


def test_the_home_folder_is_not_named():
    assert brief(Path.home() / "tiles" / "n44.png") == "~/tiles/n44.png"
    assert str(Path.home()) not in brief(f"{Path.home()}/{'deep/' * 30}m31.png", 200)


def test_numbers_are_written_as_their_own_type_writes_them():
    assert brief(np.array([0.1, 2.0], np.float32)) == "[0.1, 2.0]"
