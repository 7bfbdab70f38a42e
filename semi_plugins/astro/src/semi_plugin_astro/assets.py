"""The pinned packages that the data set is made from: photographs and the catalogue of what they show."""

from __future__ import annotations

from semi.assets import Archive, Asset

NEBULAE = "usr/share/stellarium/nebulae/default"

STELLARIUM = Asset(
    name="stellarium-nebulae",
    source="debian",
    package="stellarium-data",
    archives=(Archive("0.22.2-1", "45aaebf39a814acbd6dcccea058c2f5651bcb5635599da03a215feeb51f4d5a5", 246_289_432),),
    files=(f"{NEBULAE}/*.png", f"{NEBULAE}/textures.json", "usr/share/doc/*/copyright"),
    licence="GPL-2.0-or-later",
    about="555 photographs of nebulae, clusters and galaxies with their places in the sky",
    instead="use a pairs file of your own photographs",
)

OPENNGC = Asset(
    name="openngc",
    source="pypi",
    package="pyongc",
    archives=(Archive("1.2.2", "d740581ce5e7317a51fc31bec19bb8562bf358c399551b5dfe73a752fa490bf2", 2_351_507),),
    files=("pyongc/ongc.db", "*/LICENSES/*"),
    licence="MIT (package), CC-BY-SA-4.0 (OpenNGC database)",
    about="OpenNGC: 14,033 deep-sky objects with type, size and magnitude",
)
