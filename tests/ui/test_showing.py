"""What the page shows is well-formed, complete and escaped, whatever the texts are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semi.errors import InputError
from semi.integration import Reading
from semi.memory import Neighbour
from semi.ui.drawing import Point, curves, scatter
from semi.ui.job import Answer
from semi.ui.showing import WORSE, answers, diagnosis, nearest, notice, problem, sample, state, table
from semi.vectors import Vectors

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)


def parsed(html: str) -> Element:
    """As XML, where what is not escaped or not closed is an error; attributes without a value are spelled out."""
    return fromstring(f"<div>{html.replace('<br>', '<br/>').replace('<details open>', '<details>')}</div>")


@given(what=texts, got=texts, do=texts)
def test_problems_say_all_four_things(what: str, got: str, do: str) -> None:
    shown = "".join(parsed(problem(InputError(what, got=got, expected="a < b", do=do))).itertext())
    for part in (what, got, "a < b", do):
        assert part in shown


@pytest.mark.parametrize(("curve", "worse"), [([2.0, 1.0], False), ([1.0, 1.5], True), ([], False)])
def test_learning_that_made_it_worse_is_told(curve: list[float], worse: bool) -> None:
    found = {"accuracy": 0.5, "loss": 2.0, "chance": 0.5, "protocol": "p", "examples": 1}
    whole = found | {"worst": [], "few_shots": [], "more": None}
    for each in (whole, {"note": "too few pairs"}):
        metrics = {"training_loss": curve, "diagnosis": each}
        made: Any = SimpleNamespace(record=SimpleNamespace(metrics=metrics))
        assert (WORSE in "".join(parsed(diagnosis(made)).itertext())) == worse


def test_a_dropped_file_is_called_by_its_name() -> None:
    error = InputError("/tmp/semi-ui-a_b1/12/pairs.jsonl, line 3: no", got="'/var/x/semi-ui-q/1/a b.npy'", do="mend it")
    shown = "".join(parsed(problem(error)).itertext())
    assert shown == "pairs.jsonl, line 3: nogot'a b.npy'do thismend it"


def test_an_unknown_error_is_one_line_and_no_traceback() -> None:
    shown = "".join(parsed(problem(KeyError("x\nsecond line"))).itertext())
    assert shown.startswith("KeyError")
    assert "Traceback" not in shown


@given(said=texts, caption=texts, label=texts, far=st.booleans())
def test_answers_stand_beside_the_truth(said: str, caption: str, label: str, far: bool) -> None:
    reading = Reading(said, [Neighbour(label, 0.5)], far)
    kind = Vectors()
    shown = "".join(parsed(answers([Answer(kind.parse([1, 2]), caption, reading, reading)], kind)).itertext())
    assert shown.count(said) >= 2
    assert caption in shown
    assert ("unlike anything seen" in shown) == far
    assert parsed(nearest(reading.nearest)).find(".//meter") is not None


def test_a_modality_that_cannot_draw_shows_text() -> None:
    class Broken(Vectors):
        def draw(self, sample: object) -> str:
            raise RuntimeError

    assert "&lt;b&gt;" in sample("<b>", Broken())


@pytest.mark.parametrize(("name", "kind"), [("ok", "semi-good"), ("warn", "semi-doubtful"), ("fail", "semi-state")])
def test_states_are_words_and_not_colours_alone(name: str, kind: str) -> None:
    assert name in "".join(parsed(state(name, "a < b")).itertext())
    assert kind in state(name)


def test_rows_become_cards_where_that_is_asked_for() -> None:
    assert "semi-cards" in table(["a", "b"], [["1", "2"]], cards=True)
    assert "semi-cards" not in table(["a", "b"], [["1", "2"]])
    assert notice("") == ""


@given(points=st.lists(st.tuples(numbers, numbers, texts), min_size=1, max_size=20), title=texts)
def test_every_point_of_a_map_is_drawn_inside_and_named(points: list[tuple[float, float, str]], title: str) -> None:
    labels = [label for _, _, label in points]
    figure = parsed(scatter([point[:2] for point in points], labels, title))
    svg = figure.find(".//svg")
    assert svg is not None
    assert [each.text for each in svg.iter("title")] == labels
    for circle in svg.iter("circle"):
        assert 0 < float(circle.attrib["cx"]) < 480
        assert 0 < float(circle.attrib["cy"]) < 320
    assert len(list(figure.iter("li"))) == len(set(labels))
    assert "<details open>" in scatter([point[:2] for point in points], labels, title)


@given(
    series=st.dictionaries(
        texts,
        st.lists(st.builds(Point, st.integers(1, 4096), numbers, st.none() | st.floats(0, 10)), min_size=1, max_size=5),
        max_size=4,
    )
)
def test_every_point_of_a_curve_is_drawn(series: dict[str, list[Point]]) -> None:
    drawn = curves(series, x="shots", y="loss", title="a < b")
    assert bool(drawn) == bool(series)
    if drawn:
        assert len(list(parsed(drawn).iter("circle"))) == sum(map(len, series.values()))
