"""The tab "Map": what a choice redraws."""

from __future__ import annotations

import httpx2

from tests.ui.conftest import Served


def test_another_way_to_map_leaves_the_adapters_alone(served: Served) -> None:
    """What is redrawn is covered until it is there."""
    config = httpx2.get(f"{served.address}/config").json()
    labels = {each["id"]: each["props"].get("label") for each in config["components"]}
    redrawn = {
        labels[target]: len(handler["outputs"])
        for handler in config["dependencies"]
        for target, event in handler["targets"]
        if event == "input"
    }
    assert redrawn["Integration"] - redrawn["Map by"] == 2  # the adapters, and the names of integrations
