"""Pairs from a file or a data set's name, checked line by line before any work starts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semi.brief import brief
from semi.errors import PairsError
from semi.modality import Modality
from semi.pairs import Pair
from semi.pairs_io.records import COLUMNS, Problem, read_csv, read_jsonl, refuse, refuse_empty
from semi.pairs_io.writing import pairs_sha256
from semi.splits import SPLITS

_READERS = {".jsonl": read_jsonl, ".csv": read_csv}
_NAME = re.compile(r"([\w-]+)(?::(\w+))?")


@dataclass(frozen=True)
class PairList:
    """Pairs and where they came from."""

    pairs: list[Pair]
    skipped: list[str]
    """What was wrong with each pair left out, e.g. "line 7: caption is empty"."""
    source: str
    """The file, or "name:split" of a data set."""
    sha256: str
    """Of the pairs' content, whatever file format they were in; see `pairs_sha256`."""


def read_pairs(source: str | Path, *, modality: Modality, split: str = "train", skip_bad: bool = False) -> PairList:
    """The pairs of a JSONL or CSV file, or of a data set that a plugin registered.

    JSONL has one object a line, {"sample": ..., "caption": "..."}, with "instruction": "..." and
    "attributes": {"slot": "value"} if you like; CSV has the same columns, `attributes` being a JSON object. UTF-8, with
    or without a byte order mark; blank lines are passed over. A sample stands inline or as a path relative to the file:
    `Modality.parse` decides.

    Args:
        source: a file, "molecules" or "molecules:validation".
        modality: what parses the samples.
        split: of a data set whose name does not say: "train", "validation" or "test".
        skip_bad: leave out what cannot be used, and report it in `skipped`.

    Raises:
        PairsError: the file is missing, empty or not text; or any line is not a pair (all problems in one message).
        PluginError: no data set has this name.
        AssetError: the data set was not fetched yet.
    """
    path = Path(source)
    name = _NAME.fullmatch(str(source))
    if name and not path.is_file():
        return _from_dataset(name[1], name[2] or split, modality)
    if path.suffix.lower() not in _READERS:
        raise PairsError(
            f"{path} is neither a pairs file nor the name of a data set",
            got=path.suffix or "no suffix",
            expected="a .jsonl or .csv file, or a name like molecules or molecules:validation",
            do="`semi plugins` lists the data sets",
        )
    found, problems = _check(_READERS[path.suffix.lower()](path), modality, path.parent)
    return collect(path, found, problems, modality, skip_bad=skip_bad)


def collect(
    path: Path, found: Sequence[tuple[str, Pair]], problems: list[Problem], modality: Modality, *, skip_bad: bool
) -> PairList:
    """The pairs of a file, unless some cannot be used and may not be skipped, or none are left.

    Args:
        found: where each pair stands, and the pair.
        problems: what was wrong with the others.

    Raises:
        PairsError: see above; also where a sample does not fit the others.
    """
    misfits = modality.misfits([pair.sample for _, pair in found])
    problems = [*problems, *(Problem(found[i][0], error) for i, error in misfits.items())]
    pairs = [pair for i, (_, pair) in enumerate(found) if i not in misfits]
    total = len(pairs) + len(problems)
    if problems and (not skip_bad or not pairs):
        refuse(path, problems, total)
    if not pairs:
        refuse_empty(path)
    return PairList(pairs, [str(problem) for problem in problems], str(path), pairs_sha256(pairs))


def parse_sample(sample: Any, modality: Modality, folder: Path | None) -> Any:
    """The raw sample, or a PairsError that says what is wrong with it."""
    try:
        return modality.parse(sample, folder=folder)
    except PairsError:
        raise
    except (OSError, ValueError) as error:  # what readers of images, arrays and the like raise
        raise PairsError(f"not a sample of modality {modality.name!r}: {error}", got=brief(sample)) from error


def _from_dataset(name: str, split: str, modality: Modality) -> PairList:
    from semi.plugins import load_dataset

    if split not in SPLITS:
        raise PairsError(f"data set {name!r} has no such split", got=split, expected=", ".join(SPLITS))
    dataset = load_dataset(name)
    if dataset.modality != modality.name:
        raise PairsError(
            f"data set {name!r} is of another modality",
            got=dataset.modality,
            expected=modality.name,
            do=f"use modality {dataset.modality!r} with it",
        )
    pairs = dataset.pairs(split)
    if not pairs:
        raise PairsError(f"data set {name!r} has no pairs in this split", got=split)
    return PairList(list(pairs), [], f"{name}:{split}", pairs_sha256(pairs))


def _check(
    records: Iterable[tuple[int, dict[str, Any] | PairsError]], modality: Modality, folder: Path
) -> tuple[list[tuple[str, Pair]], list[Problem]]:
    found, problems = [], []
    for number, record in records:
        try:
            if isinstance(record, PairsError):
                raise record
            found.append((f"line {number}", _pair(record, modality, folder)))
        except PairsError as error:
            problems.append(Problem(f"line {number}", error))
    return found, problems


def _pair(record: Mapping[str, Any], modality: Modality, folder: Path) -> Pair:
    for name in record:
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, n=1)
            raise PairsError(
                f"unknown key {name!r}", expected=", ".join(COLUMNS), do=f"did you mean {near[0]!r}?" if near else None
            )
    if record.get("sample") is None:
        raise PairsError("sample is missing", expected='"sample": ...')
    caption = _text(record, "caption")
    if caption is None:
        raise PairsError("caption is missing", expected='"caption": "..."')
    return Pair(
        sample=parse_sample(record["sample"], modality, folder),
        caption=caption,
        instruction=_text(record, "instruction"),
        attributes=_attributes(record.get("attributes")),
    )


def _text(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise PairsError(f"{name} is not text", got=brief(value), expected=f'"{name}": "..."')
    if not value.strip():
        raise PairsError(f"{name} is empty", expected=f'"{name}": "..."')
    # JSON can spell half of a surrogate pair, which no file or tokenizer can hold.
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise PairsError(f"{name} holds half a character", got=ascii(brief(value)), expected="whole characters")
    return value.strip()


def _attributes(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(fact, str) and fact.strip() for fact in value.values()):
        raise PairsError("attributes are not text by name", got=brief(value), expected='{"family": "ester"}')
    return value
