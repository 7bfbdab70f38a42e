"""What `semi study` summed up, without anything that draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semi.artifacts import read_json
from semi.errors import ArtifactError

FILE = "summary.json"
MEASURES = {
    "loss": "caption loss (nats a token)",
    "attribute_accuracy": "attribute accuracy",
    "rouge_l": "ROUGE-L",
    "cider_d": "CIDEr-D",
    "cosine": "cosine",
}


def read_summary(study: Path) -> Mapping[str, Any]:
    """What `semi study` summed up in a folder.

    Raises:
        ArtifactError: there is no summary of shots.
    """
    if not study.is_dir():
        got = "a file" if study.exists() else "nothing there"
        raise ArtifactError(
            f"{study} is no folder", got=got, expected="what `semi study sample-efficiency` filled", do="check the name"
        )
    if not (study / FILE).is_file():
        do = f"semi study report {study}"
        raise ArtifactError(f"{study} holds no summary of a study", expected=FILE, do=do)
    summary: Mapping[str, Any] = read_json(study / FILE)
    if not summary.get("rows") or not all({"shots", "target", *MEASURES} <= set(row) for row in summary["rows"]):
        expected = "one of `semi study sample-efficiency`"
        raise ArtifactError(f"{study / FILE} is no summary of shots", expected=expected, do="choose another folder")
    return summary
