"""A few dozen real substances laid out as in the package `chemicals`."""

from __future__ import annotations

from pathlib import Path

import pytest
from semi_plugin_molecules.dataset import IDENTIFIERS
from semi_plugin_molecules.phases import SOURCES

# CAS number, SMILES, melting and boiling point in kelvin (None: not measured)
SUBSTANCES: tuple[tuple[str, str, float | None, float | None], ...] = (
    ("50-78-2", "CC(=O)Oc1ccccc1C(=O)O", 408.15, None),
    ("71-43-2", "C1=CC=CC=C1", 278.65, 353.23),
    ("64-17-5", "CCO", 159.05, 351.39),
    ("56-40-6", "C(C(=O)O)N", 524.15, None),
    ("67-66-3", "C(Cl)(Cl)Cl", 210.15, 334.35),
    ("64-19-7", "CC(=O)O", 289.85, 391.05),
    ("60-29-7", "CCOCC", 157.15, 307.55),
    ("67-64-1", "CC(=O)C", 178.35, 329.23),
    ("75-07-0", "CC=O", 148.65, 293.95),
    ("108-95-2", "C1=CC=C(C=C1)O", 314.15, 454.95),
    ("62-53-3", "C1=CC=C(C=C1)N", 267.15, 457.25),
    ("91-20-3", "C1=CC=C2C=CC=CC2=C1", 353.35, 491.15),
    ("106-97-8", "CCCC", 135.05, 272.65),
    ("75-05-8", "CC#N", 226.65, 354.75),
    ("141-78-6", "CCOC(=O)C", 189.15, 350.25),
    ("110-82-7", "C1CCCCC1", 280.15, 353.85),
    ("108-88-3", "CC1=CC=CC=C1", 179.2, 383.75),
    ("65-85-0", "C1=CC=C(C=C1)C(=O)O", 395.55, 523.35),
    ("100-52-7", "C1=CC=C(C=C1)C=O", 216.9, 451.85),
    ("98-95-3", "C1=CC=C(C=C1)[N+](=O)[O-]", 279.0, 483.85),
    ("108-90-7", "C1=CC=C(C=C1)Cl", 227.995, 404.75),
    ("68-12-2", "CN(C)C=O", 212.15, 425.95),
    ("71-36-3", "CCCCO", 183.35, 390.75),
    ("109-69-3", "CCCCCl", 150.15, 351.55),
    ("123-86-4", "CCCCOC(=O)C", 195.15, 399.15),
    ("109-73-9", "CCCCN", 224.15, 350.15),
    ("100-47-0", "C1=CC=C(C=C1)C#N", 260.15, 464.15),
    ("108-94-1", "C1CCC(=O)CC1", 243.125, 428.55),
    ("60-35-5", "CC(=O)N", 353.65, 495.15),
    # not in the data set: a urea, a mixture, a salt, a silane, too small, no boiling point, SMILES that is none
    ("57-13-6", "C(=O)(N)N", 406.5, None),
    ("8013-58-9", "CCO.CCOCC", 150.0, 330.0),
    ("62-76-0", "C(=O)(C(=O)[O-])[O-].[Na+].[Na+]", 530.0, None),
    ("75-76-3", "C[Si](C)(C)C", 174.1, 299.8),
    ("74-87-3", "CCl", 175.8, 249.05),
    ("593-60-2", "C=CBr", 135.3, None),
    ("1-00-0", "C1CC", 350.0, None),
)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """The package's root with these substances: identifiers in one table, temperatures in two."""
    for name in (*IDENTIFIERS, *SOURCES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    rows = [f"1\t{cas}\tformula\tmass\t{smiles}\tnames\tmore names\n" for cas, smiles, _, _ in SUBSTANCES]
    (tmp_path / IDENTIFIERS[1]).write_text("".join(rows), "utf-8")
    melting = [f"{cas}\t{tm}\n" for cas, _, tm, _ in SUBSTANCES if tm]
    (tmp_path / SOURCES[0]).write_text("CAS\tTm\n" + "".join(melting), "utf-8")
    boiling = [f"{cas.replace('-', '')}\t\t{tb or ''}\n" for cas, _, _, tb in SUBSTANCES]
    (tmp_path / SOURCES[2]).write_text("CAS\tTm\tTb\n" + "".join(boiling), "utf-8")
    return tmp_path
