"""Writes src/semi_plugin_molecules/descriptors.json from the train split (run after `semi fetch chemicals`).

Constants are fitted once and shipped, because an encoder must not depend on the data it is given. A new file means a
new version in `MorganEncoder.id`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import rdkit
from rdkit.Chem import Descriptors
from semi_plugin_molecules import encoder
from semi_plugin_molecules.dataset import MoleculesDataset
from semi_plugin_molecules.smiles import read_smiles

BLOCKS = {"morgan": 1.0, "property": 1.0, "group": 1.0}
"""Relative mean squared deviation of each block: equal, so that no caption has a say in the encoder."""
WIDE = 50.0
"""A descriptor that is never negative and reaches beyond this is taken as a logarithm, and so is every group count."""
TARGET = Path(__file__).parents[1] / "src" / "semi_plugin_molecules" / encoder.CONSTANTS


def main() -> None:
    """Fit and write."""
    molecules = [read_smiles(pair.sample) for pair in MoleculesDataset().pairs("train")]
    names = [name for name, _ in Descriptors.descList]
    functions = encoder.descriptor_functions(names)
    raw = np.stack([encoder.descriptor_values(molecule, functions) for molecule in molecules])  # (n, d)
    is_group = np.array([name.startswith(encoder.GROUP_PREFIX) for name in names])
    log = is_group | ((np.nanmin(raw, axis=0) >= 0) & (np.nanmax(raw, axis=0) > WIDE))
    values = encoder.squash(raw, log)
    varies = np.nanstd(values, axis=0) > 1e-6
    values, log, is_group = values[:, varies], log[varies], is_group[varies]
    names = [name for name, keep in zip(names, varies, strict=True) if keep]
    centre = np.array([_short(v) for v in np.nanmean(values, axis=0)])
    deviation = np.array([_short(v) for v in np.nanstd(values, axis=0)])

    z = encoder.standardise(values, centre, deviation)
    blocks = {
        "morgan": np.stack([encoder.morgan(molecule) for molecule in molecules]),
        "property": z[:, ~is_group],
        "group": z[:, is_group],
    }
    whole = sum(BLOCKS.values())
    weights = {
        f"{name}_weight": _short((BLOCKS[name] / whole / block.var(axis=0).sum()) ** 0.5)
        for name, block in blocks.items()
    }
    rows = [
        json.dumps({"name": n, "log": bool(flag), "centre": float(c), "deviation": float(d)})
        for n, flag, c, d in zip(names, log, centre, deviation, strict=True)
    ]
    about = f"train split of the data set molecules ({len(molecules)} molecules), RDKit {rdkit.__version__}"
    head = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in ({"about": about} | weights).items())
    TARGET.write_text("{\n" + head + ',\n"descriptors": [\n' + ",\n".join(rows) + "\n]\n}\n", "utf-8")


def _short(value: float) -> float:
    return float(f"{value:.6g}")


if __name__ == "__main__":
    main()
