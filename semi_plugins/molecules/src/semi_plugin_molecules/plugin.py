"""What semi finds through the entry points. Imports RDKit only when one of the two is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semi.plugins import hookimpl

if TYPE_CHECKING:
    from semi.modality import Dataset, Modality


@hookimpl
def semi_modality(name: str) -> Modality | None:
    """The modality "molecules"."""
    if name != "molecules":
        return None
    from semi_plugin_molecules.modality import Molecules

    return Molecules()


@hookimpl
def semi_dataset(name: str) -> Dataset | None:
    """The data set "molecules"."""
    if name != "molecules":
        return None
    from semi_plugin_molecules.dataset import MoleculesDataset

    return MoleculesDataset()
