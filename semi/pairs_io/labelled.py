"""Arrays with class labels: for people with windows rather than sentences."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from semi.errors import PairsError
from semi.modality import Modality
from semi.pairs import Pair
from semi.pairs_io.reading import PairList, collect, parse_sample
from semi.pairs_io.records import Problem, csv_rows, refuse_empty

if TYPE_CHECKING:
    import numpy as np

TEMPLATE = "This is {label}."
_SLOT = "{label}"
_NUMBERED = re.compile(r"arr_(\d+)")


def read_labelled(
    samples: str | Path,
    labels: str | Path,
    template: str = TEMPLATE,
    *,
    modality: Modality,
    skip_bad: bool = False,
) -> PairList:
    """Pairs of the n samples of an array file and the n labels of a CSV file.

    A .npy file holds an array (n, ...), one sample a row. A .npz file holds one array (n, ...) under any name; or one
    named `samples`, with others beside it that are not read; or one array a sample, of any lengths, named arr_0 to
    arr_<n-1> as `numpy.savez(file, *list)` names them. Nothing pickled is ever loaded.

    The labels are the column `label`, or the only column, in which case there is no header. The caption is the template
    with the label in place of "{label}", and the pair's attributes are {"label": label}.

    Args:
        samples: the .npy or .npz file.
        labels: the .csv file, UTF-8.
        template: text with "{label}" in it, e.g. "The person is {label}.".
        modality: what parses the samples.
        skip_bad: leave out what cannot be used, and report it in `skipped`.

    Raises:
        PairsError: a file is missing, empty or broken; the counts differ; a label is empty; a sample is not one of the
            modality or holds NaN or infinity.
    """
    if _SLOT not in template:
        raise PairsError("the template has no place for the label", got=template, expected=f"text with {_SLOT} in it")
    samples, labels = Path(samples), Path(labels)
    rows = _labels(labels)
    arrays = _arrays(samples)
    if len(arrays) != len(rows):
        raise PairsError(
            f"{samples} and {labels} differ in length",
            got=f"{len(arrays)} samples, {len(rows)} labels",
            expected="one label a sample",
            do="name the column `label` if its first line is a header" if len(rows) == len(arrays) + 1 else None,
        )
    found, problems = [], []
    for number, (array, (line, label)) in enumerate(zip(arrays, rows, strict=True), start=1):
        try:
            if not label:
                raise PairsError(f"its label is empty ({labels}, line {line})", expected="a class name")
            _refuse_non_finite(array)
            sample = parse_sample(array, modality, samples.parent)
        except PairsError as error:
            problems.append(Problem(f"sample {number}", error))
        else:
            pair = Pair(sample, template.replace(_SLOT, label), attributes={"label": label})
            found.append((f"sample {number}", pair))
    return collect(samples, found, problems, modality, skip_bad=skip_bad)


def _labels(path: Path) -> list[tuple[int, str]]:
    rows = csv_rows(path)
    if not rows:
        refuse_empty(path)
    header = [cell.strip() for cell in rows[0][1]]
    if "label" in header:
        column = header.index("label")
        rows = rows[1:]
    elif len(header) == 1:
        column = 0
    else:
        raise PairsError(
            f"{path}, line {rows[0][0]}: no column is named `label`",
            got=", ".join(header),
            expected="a column `label`, or only one column",
        )
    return [(line, row[column].strip() if column < len(row) else "") for line, row in rows]


def _arrays(path: Path) -> list[np.ndarray]:
    import numpy as np

    try:
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return _rows(path, loaded)
            with loaded:
                return _archive(path, loaded)
    except FileNotFoundError:
        raise PairsError(f"{path} does not exist", do="check the name; a relative one starts from here") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise PairsError(
            f"{path} cannot be read as .npy or .npz", got=error, do="write it with numpy.save or numpy.savez"
        ) from error


def _archive(path: Path, archive: np.lib.npyio.NpzFile) -> list[np.ndarray]:
    names = list(archive)
    if "samples" in names:
        return _rows(path, archive["samples"])
    if len(names) == 1:
        return _rows(path, archive[names[0]])
    numbers = sorted(int(match[1]) for name in names if (match := _NUMBERED.fullmatch(name)))
    if not names or numbers != list(range(len(names))):
        raise PairsError(
            f"{path}: which of its arrays are the samples?",
            got=", ".join(names) or "no arrays",
            expected="one array, one named `samples`, or arr_0, arr_1, ... with one sample each",
        )
    return [archive[f"arr_{number}"] for number in numbers]


def _rows(path: Path, array: np.ndarray) -> list[np.ndarray]:
    if array.ndim == 0 or len(array) == 0:
        raise PairsError(f"{path} holds no samples", got=f"shape {array.shape}", expected="an array (n, ...), n >= 1")
    return list(array)


def _refuse_non_finite(array: np.ndarray) -> None:
    import numpy as np

    if array.dtype.kind not in "biufc":
        raise PairsError("not an array of numbers", got=array.dtype)
    if bad := int(array.size - np.isfinite(array).sum()):
        raise PairsError("it holds NaN or infinity", got=f"{bad} of {array.size} values", expected="finite numbers")
