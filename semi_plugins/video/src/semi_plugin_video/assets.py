"""The pinned package that the data set "sprites" is made from."""

from __future__ import annotations

from semi.assets import Archive, Asset

CORE = "usr/share/games/wesnoth/1.16/data/core"

WESNOTH = Asset(
    name="wesnoth-units",
    source="debian",
    package="wesnoth-1.16-data",
    archives=(Archive("1:1.16.9-1", "1012b964bd412a6770685e3324ae3b61e176caff7846192d1ee63d55cd621e26", 146_229_044),),
    files=(f"{CORE}/units/*.cfg", f"{CORE}/images/units/*.png", "usr/share/doc/*/copyright"),
    licence="GPL-2.0-or-later",
    about="The Battle for Wesnoth: sprites of its units and how they are animated",
    instead="use the data set moving-pictures (an npm package) or a pairs file of your own clips",
)
