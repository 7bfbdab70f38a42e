"""SDF and molfiles (MDL's CTfile formats, V2000 and V3000): records, molecules, pairs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rdkit import Chem

from semi.errors import PairsError
from semi.pairs import Pair
from semi_plugin_molecules.smiles import sanitised

END = re.compile(r"^\$\$\$\$[^\S\n]*$\n?", re.MULTILINE)
FIELD = re.compile(r"^>[^\n]*<([^<>\n]+)>[^\n]*\n((?:[^\n]*\S[^\n]*(?:\n|\Z))*)", re.MULTILINE)


@dataclass(frozen=True)
class Record:
    """One molecule of a file."""

    block: str
    """Its molfile."""
    fields: Mapping[str, str]
    """Its data fields by name, and its first line as "TITLE"."""


def records_of(path: Path) -> tuple[Record, ...]:
    """The records of an .sdf or .mol file.

    Raises:
        PairsError: no such file, or nothing in it.
    """
    try:
        state = path.stat()
        return _records(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise PairsError(f"{path} cannot be read", got=error.strerror, do="check the name") from error


@lru_cache(maxsize=1)  # the pairs of a file name its records one by one
def _records(path: Path, changed: int, size: int) -> tuple[Record, ...]:
    text = path.read_text("utf-8", errors="replace").replace("\r\n", "\n")  # titles may be Latin-1; molecules are ASCII
    records = tuple(_read(part) for part in END.split(text) if part.strip())
    if not records:
        raise PairsError(f"{path} holds no molecule", got="an empty file", expected="one record or more")
    return records


def _read(text: str) -> Record:
    block, _, data = text.partition("M  END")
    fields = {found[1]: found[2].strip() for found in FIELD.finditer(data)}
    return Record(f"{block}M  END\n", {"TITLE": block.partition("\n")[0].strip()} | fields)


def read_block(block: str, name: str) -> Chem.Mol:
    """The molecule of a molfile, hydrogens implicit; stereochemistry from its coordinates.

    Raises:
        PairsError: RDKit cannot read it, or it breaks a rule; `name` says which record it is.
    """
    return sanitised(
        lambda sanitise: Chem.MolFromMolBlock(block, sanitize=sanitise, removeHs=sanitise),
        f"{name} is no valid molecule",
        block.partition("\n")[0].strip() or "a record without a title",
    )


def sdf_pairs(path: str | Path, caption: str, *, attributes: Sequence[str] = ()) -> list[Pair]:
    """Pairs of all records of an SDF file, to give to `Foundation.adapt`.

    Args:
        path: the file.
        caption: text with names of data fields in braces, e.g. "{NAME} is {STATE}"; TITLE is a record's first line.
        attributes: data fields that are facts of the caption.

    Raises:
        PairsError: the file cannot be read, or a record is no molecule or lacks a field; says which.
    """
    path = Path(path)
    pairs = []
    for number, record in enumerate(records_of(path), start=1):
        name = f"record {number} of {path}"
        try:
            told, facts = caption.format_map(record.fields), {slot: record.fields[slot] for slot in attributes}
        except KeyError as error:
            known = ", ".join(record.fields)
            raise PairsError(f"{name} has no data field {error.args[0]!r}", got=known, do="use another one") from error
        pairs.append(Pair(str(Chem.MolToSmiles(read_block(record.block, name))), told, attributes=facts))
    return pairs
