"""The pinned package that the data set is made from."""

from __future__ import annotations

from semi.assets import Archive, Asset

CHEMICALS = Asset(
    name="chemicals",
    source="pypi",
    package="chemicals",
    archives=(Archive("1.5.2", "f85ef7f36e77fee634686c26562929ee61026cd548d89cebd57b2251ca843d6e", 22_288_884),),
    files=(
        "chemicals/Identifiers/chemical identifiers *.tsv",
        "chemicals/Phase Change/OpenNotebook Melting Points.tsv",
        "chemicals/Misc/Physical Constants of Organic Compounds.csv",
        "chemicals/Misc/webbook_constants.tsv",
        "*/LICENSE.txt",
    ),
    licence="MIT",
    about="75,000 molecules as SMILES, with measured melting and boiling points",
)
