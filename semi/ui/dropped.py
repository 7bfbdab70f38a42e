"""Files that a user dropped on the page: pairs, samples and recordings. No path comes from the page."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from semi.errors import InputError, PairsError
from semi.modality import Modality
from semi.pairs_io import PairList, read_labelled, read_pairs
from semi.pairs_io.labelled import TEMPLATE

TABLES, ARRAYS = (".jsonl", ".csv"), (".npy", ".npz")
BAG = "metadata.yaml"
"""A folder with it is a rosbag2 recording."""
WANTED = "one .jsonl or .csv file of pairs, or one .npy or .npz file of samples and one .csv file of labels"
PREFIX = "semi-ui-"
"""Of the temporary folder that dropped files lie in."""
_FOLDER = re.compile(rf"[^\s'\"]*{PREFIX}\w+/\d+/")


def without_folder(text: object) -> str:
    """A text that names dropped files, by the names under which they were dropped."""
    return _FOLDER.sub("", str(text))


def lay_out(files: Sequence[str | Path], folder: Path) -> list[Path]:
    """The files side by side in an empty folder under their own names, as a pairs file expects its samples.

    Raises:
        InputError: no files, or two of one name.
    """
    if not files:
        raise InputError("there are no files yet", do="drop them, or choose them with the keyboard")
    folder.mkdir(parents=True)
    laid = []
    for file in map(Path, files):
        if (folder / file.name).exists():
            raise InputError("two of the files have the same name", got=file.name, do="rename one of them")
        laid.append(Path(shutil.copyfile(file, folder / file.name)))
    return laid


def pairs_of(files: Sequence[Path], modality: Modality, template: str = TEMPLATE) -> PairList:
    """The pairs in files that lie in one folder: what `semi adapt` takes as --pairs, or as --samples and --labels.

    Args:
        files: a table of pairs and any files that it names, or arrays and their labels.
        template: the caption of a label.

    Raises:
        PairsError: they are no pairs, or name files that are not among them.
    """
    tables = [file for file in files if file.suffix.lower() in TABLES]
    arrays = [file for file in files if file.suffix.lower() in ARRAYS]
    pairs = [table for table in tables if table.suffix.lower() == ".jsonl" or _has_captions(table)]
    try:
        if len(pairs) == 1:
            found = read_pairs(pairs[0], modality=modality)
            for pair in found.pairs:
                _require_inside(pair.sample, pairs[0].parent)
            return found
        if len(tables) == len(arrays) == 1:
            return read_labelled(arrays[0], tables[0], template, modality=modality)
    except PairsError as error:
        if error.do and "--" in error.do:  # an option, which the page does not have
            error.do = "mend them, or take them out, and drop the file again"
        raise
    raise PairsError("where are the pairs?", got=", ".join(file.name for file in files), expected=WANTED)


def sample_of(text: str, files: Sequence[Path], modality: Modality) -> Any:
    """One sample, typed or dropped, as the modality parses it.

    Raises:
        InputError: nothing was given, or a path was typed.
        PairsError: it is no sample of the modality.
    """
    if files:
        return modality.parse(str(files[0].name), folder=files[0].parent)
    if not (text := text.strip()):
        raise InputError("there is no sample yet", do="type one, or drop its file")
    with suppress(OSError, ValueError):  # text of some length or with some characters is no path anywhere
        if Path(text).exists():
            raise InputError("a path is no sample", got=text, do="drop the file itself")
    if text[0] in "[{":
        with suppress(ValueError, RecursionError):
            return modality.parse(json.loads(text))
    return modality.parse(text)


def recording_of(files: Sequence[Path]) -> Path:
    """The recording in files that lie in one folder: one file, or the parts of a rosbag2 folder.

    Raises:
        InputError: several files that are no such folder.
    """
    if any(file.name == BAG for file in files):
        return files[0].parent
    if len(files) > 1:
        expected = f"one file, or {BAG} and the files of its rosbag2 folder"
        raise InputError(
            "which of the files is the recording?", got=", ".join(f.name for f in files), expected=expected
        )
    return files[0]


def _has_captions(table: Path) -> bool:
    with table.open(encoding="utf-8-sig", errors="replace") as file:
        return "caption" in file.readline()


def _require_inside(sample: Any, folder: Path) -> None:
    if isinstance(sample, Path) and not sample.resolve().is_relative_to(folder.resolve()):
        raise PairsError("a sample is a file that was not dropped", got=sample, do="drop it beside the pairs")
