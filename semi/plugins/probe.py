"""The other end of `semi.plugins.check`: runs in a process of its own and answers with a line of JSON a finding."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from typing import Any

from semi.errors import SemiError
from semi.modality import Modality
from semi.plugins.check import Finding
from semi.plugins.listing import list_offers
from semi.plugins.loading import load, load_dataset, load_modality
from semi.plugins.state import one_line

Answer = Callable[[dict[str, Any]], None]


def main() -> None:
    """Do the task in argv[1]; what plugins print goes to stderr, even when their C libraries print it."""
    task = json.loads(sys.argv[1])
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as output:
        os.dup2(2, 1)

        def answer(line: dict[str, Any]) -> None:
            output.write(json.dumps(line) + "\n")
            output.flush()

        if "list" in task:
            for offer in list_offers():
                answer(asdict(offer))
        for kind, name in task.get("load", ()):
            answer({"kind": kind, "name": name} | _load(kind, name))
        if "conformance" in task:
            try_encoders(load_modality(task["conformance"]), lambda finding: answer(asdict(finding)))
        answer({"done": True})
        output.flush()
        os._exit(0)  # not even a thread that a plugin left behind keeps us waiting


def _load(kind: Any, name: str) -> dict[str, str | None]:
    try:
        load(kind, name)
    except SemiError as error:
        return {"state": "failed", "cause": one_line(error), "fix": error.do}
    return {"state": "loaded", "cause": None, "fix": None}


def try_encoders(modality: Modality, tell: Callable[[Finding], None]) -> None:
    """Tell what `semi.testing` finds, encoder by encoder, on the examples of the modality or of a data set of it."""
    from semi.testing import conformance

    try:
        samples = modality.examples or _samples_of(modality.name)
    except SemiError as error:
        tell(Finding("all", "", "skipped", str(error)))
        return
    if not samples:
        tell(Finding("all", "", "skipped", f"the modality {modality.name} has no examples and no data set to try"))
        return
    for encoder in modality.encoders:
        for finding in conformance(modality, samples, encoder=encoder, first=encoder == modality.encoders[0]):
            tell(finding)


def _samples_of(name: str) -> list[Any]:
    """Three samples of a data set that the modality's distribution brings with it."""
    offers = list_offers()
    owner = next(offer.distribution for offer in offers if (offer.kind, offer.name) == ("modality", name))
    for offer in offers:
        if (offer.kind, offer.distribution) == ("dataset", owner):
            dataset = load_dataset(offer.name)
            if dataset.modality == name:
                return [pair.sample for pair in islice(dataset.pairs("train"), 3)]
    return []
