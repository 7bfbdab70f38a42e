"""The pinned packages: one with the weights of an encoder, two with recordings."""

from __future__ import annotations

from semi.assets import Archive, Asset

RIANN = Asset(
    name="riann",
    source="pypi",
    package="riann",
    archives=(Archive("0.2.0", "e7292f567630ce3b30c031c49dde9c9d1e98769efc6d513cdeb52b243743022d", 1_375_558),),
    files=("riann/riann.onnx", "*/LICENSE"),
    licence="Apache-2.0",
    about="RIANN: a recurrent network that estimates attitude from accelerometer and gyroscope",
    instead="use the encoder statistics, which needs no weights",
)

WATCH = Asset(
    name="seglearn-watch",
    source="pypi",
    package="seglearn",
    archives=(Archive("1.2.5", "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd", 11_320_941),),
    files=("seglearn/data/watch_dataset.npy", "*/LICENSE"),
    licence="BSD-3-Clause",
    about="140 recordings of shoulder exercises, accelerometer and gyroscope of a smartwatch, 50 Hz, 10 people",
)

BASIC_MOTIONS = Asset(
    name="aeon-basic-motions",
    source="pypi",
    package="aeon",
    archives=(Archive("1.6.0", "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409", 6_421_000),),
    files=("aeon/datasets/data/BasicMotions/*.ts", "*/LICENSE"),
    licence="BSD-3-Clause",
    about="80 recordings of a smartwatch, 10 Hz: standing, walking, running, badminton",
)
