"""The page in a real browser: from 32 pairs to an answer, every tab, on a laptop and on a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semi.integration import Integration
from semi.ui.showing import table, unlike
from semi.ui.style import CSS
from tests.ui.conftest import Served

Visit = Callable[..., Any]
UNLABELLED = """() => [...document.querySelectorAll('input:not([type=file]), textarea, select')]
  .filter((e) => e.offsetParent && !e.labels?.length && !e.ariaLabel && !e.getAttribute('aria-labelledby'))
  .map((e) => e.outerHTML)"""
WIDER = """() => [...document.querySelectorAll('table, figure, dl, .block')]
  .filter((e) => e.offsetParent && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.className)"""
BROKEN = """() => [...document.querySelectorAll('.semi-table th')].filter((e) => {
  const range = document.createRange();
  range.selectNodeContents(e);
  return e.offsetParent && range.getClientRects().length > 1;
}).map((e) => e.innerText)"""
"""Headings of one word that stand in several lines."""
UPLOADS = "() => [...document.querySelectorAll('button[aria-dropeffect]')].map((e) => e.ariaLabel)"


def go(page: Any, name: str) -> None:
    """To a tab, which on a phone may be in a menu."""
    tab = page.get_by_role("tab", name=name)
    if not any(each.is_visible() for each in tab.all()):
        page.get_by_label("More tabs").click()
    page.get_by_role("tab", name=name).or_(page.get_by_role("button", name=name, exact=True)).last.click()


def drop(page: Any, where: str, *files: Path) -> None:
    page.locator(f"#{where} input[type=file]").set_input_files(list(files))
    for file in files:
        page.locator(f"#{where}").get_by_text(file.stem).first.wait_for()


def learned(page: Any, drops: Path) -> None:
    """From pairs, while the page may show what was learned before."""
    drop(page, "pairs", drops / "pairs.jsonl")
    page.get_by_role("button", name="Learn").click()
    for state in ("running", "done"):
        page.locator(f".semi-work[data-state={state}]").wait_for(timeout=240_000)  # on a busy machine


def saved(page: Any, name: str) -> None:
    page.get_by_label("Name of the integration").fill(name)
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()


def test_a_sensor_from_32_pairs_to_an_answer(visit: Visit, served: Served, drops: Path) -> None:
    page = visit()
    page.get_by_role("button", name="More settings").click()
    assert page.get_by_label("Gradient steps").input_value() == ""
    learned(page, drops)
    assert "32 pairs" in page.locator(".semi-work").inner_text()
    assert "finding the number of steps" in page.locator(".semi-work").inner_text()
    table = page.locator("table", has=page.locator("th", has_text="zero-step"))
    assert table.locator("tbody tr").count() == 4
    page.get_by_text("accuracy, pairs left out").wait_for()
    page.get_by_label("A sample, typed").fill(str([0.5] * 10))
    page.get_by_role("button", name="Ask").click()
    page.locator(".semi-nearest").first.wait_for()
    saved(page, "toys")
    assert Integration.modality_of(served.folder / "toys") == "vectors"


def test_what_is_wrong_is_said_in_words(visit: Visit, drops: Path) -> None:
    page = visit()
    page.get_by_role("button", name="More settings").click()
    page.get_by_role("button", name="Learn").click()
    alert = page.get_by_role("alert")
    alert.get_by_text("there are no files yet").wait_for()
    drop(page, "pairs", drops / "broken.jsonl")
    page.get_by_role("button", name="Learn").click()
    alert.get_by_text("broken.jsonl").wait_for()
    assert "do this" in alert.inner_text()
    assert "/tmp" not in alert.inner_text()
    assert "--skip-bad" not in alert.inner_text()
    steps = page.get_by_label("Gradient steps")
    steps.fill("some")
    steps.press("Tab")  # as people leave it: what was typed is then in the page's state
    assert steps.input_value() == "some"
    page.get_by_role("button", name="Learn").click()
    alert.get_by_text("a whole number").wait_for()
    assert "Traceback" not in page.content()


def test_stopping_ends_it(visit: Visit, drops: Path) -> None:
    page = visit()
    page.get_by_role("button", name="More settings").click()
    page.get_by_label("Gradient steps").fill("100000")
    drop(page, "pairs", drops / "pairs.jsonl")
    page.get_by_role("button", name="Learn").click()
    page.locator(".semi-work progress[value]").wait_for()
    again = visit()  # another window sees the same work
    again.locator(".semi-work[data-state=running]").wait_for()
    page.get_by_role("button", name="Learn").wait_for()
    assert page.get_by_role("button", name="Learn").is_disabled()
    page.get_by_role("button", name="Stop").first.click()
    for each in (page, again):
        each.locator(".semi-work[data-state=cancelled]").wait_for()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")], ids=["laptop", "phone"])
def test_every_tab_fits_and_every_input_is_labelled(visit: Visit, drops: Path, width: int, scheme: str) -> None:
    page = visit(width, scheme)
    page.get_by_role("button", name="More settings").click()
    learned(page, drops)
    saved(page, f"toys-{width}")
    for name, there in (("Map", "figure svg"), ("Curve", "polyline"), ("Live", "#replay"), ("Health", "table")):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(WIDER) == []
        assert page.evaluate(UNLABELLED) == []
        labels = page.evaluate(UPLOADS)
        assert len(set(labels)) == len(labels)
        go(page, name)
        page.locator(f"{there} >> visible=true").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDER) == []


def test_headings_are_whole_on_a_phone(chromium: Any) -> None:
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    caption = "Slowly walking up a long flight of stairs with a bag in each hand. " * 3
    shown = table(("time", "label", "distance"), [("1.52 s", caption, f"12.31 {unlike()}")])
    page.set_content(f'<style>{CSS.read_text("utf-8")}</style><div class="gradio-container">{shown}</div>')
    assert page.evaluate(BROKEN) == []
    assert page.evaluate(WIDER) == []
    page.close()


def test_a_recording_is_replayed(visit: Visit, served: Served, drops: Path) -> None:
    page = visit(390)
    learned(page, drops)
    saved(page, "streamed")
    go(page, "Live")
    stop = page.locator("#stop-replay")
    assert stop.is_disabled()
    page.get_by_role("combobox", name="Integration").and_(page.locator(":visible")).click()
    page.get_by_role("option", name="streamed").click()
    drop(page, "recording", drops / "recording.csv")
    page.get_by_label("Window, s").fill("0.5")
    page.get_by_label("Speed").fill("4")
    page.get_by_role("button", name="Replay").click()
    page.locator(".semi-now").get_by_text("red cat").wait_for()
    page.locator("#stop-replay:enabled").wait_for()
    page.get_by_text("300 samples").wait_for()
    page.locator("#stop-replay:disabled").wait_for()
    facts = page.locator(".semi-facts >> visible=true").inner_text()
    assert "age of the reading" in facts
    assert "latency" in facts
    assert "gaps\n1" in facts


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit()
    page.get_by_role("tab", name="Add a sensor").first.focus()
    reached = set()
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText.split('\\n')[0]")
        )
    assert {"Modality", "Pairs, about 32: choose or drop files", "More settings", "Learn"} <= reached
    page.get_by_role("button", name="Learn").focus()
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("there are no files yet").wait_for()
