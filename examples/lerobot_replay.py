"""An episode of a LeRobot data set through a stream, as the robot would have pushed it.

    python lerobot_replay.py my-imu path/to/dataset --episode 3 --feature observation.imu

The first argument is what `semi adapt imu` wrote. Needs `pip install 'semi-plugin-imu[lerobot]'`, and no lerobot.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import semi
from semi.errors import SemiError
from semi.plugins import load_modality
from semi.streams.replay import replay
from semi.streams.view import view

SECOND = 1_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description="Replay an episode of a LeRobot data set.")
    parser.add_argument("integration", help="what `semi adapt imu` wrote")
    parser.add_argument("dataset", help="a folder with meta/info.json")
    parser.add_argument("--episode", type=int, default=0)
    parser.add_argument("--feature", default="observation.imu")
    parser.add_argument("--window", type=float, default=4.0, help="seconds, as long as the integration's samples")
    parser.add_argument("--hop", type=float, default=0.5, help="seconds")
    parser.add_argument("--speed", type=float, help="times real time; as fast as possible if not given")
    options = parser.parse_args()

    # A data set says nothing of units; these are those of sensor_msgs/Imu.
    asked = {"lerobot": options.dataset, "episode": options.episode, "feature": options.feature, "units": "SI"}
    try:
        episode = load_modality("imu").parse(asked)
    except SemiError as error:
        sys.exit(f"error: {error}")
    quantities = [episode[name] for name in ("acceleration", "gyroscope") if name in episode]
    samples = np.concatenate(quantities, axis=1)  # (T, 6), or (T, 3) without a gyroscope
    stamps = (np.rint(np.arange(len(samples)) * SECOND / episode["rate"])).astype(np.int64).tolist()

    with semi.Session.load(options.integration) as session:
        stream = session.stream("imu", rate_hz=episode["rate"], window_s=options.window, hop_s=options.hop)
        lines = view(sys.stdout, stream.status)
        replay(zip(stamps, samples, strict=True), stream, [lines], speed=options.speed)
        lines.close()


if __name__ == "__main__":
    main()
