"""A sensor that moves and a picture, together in every question to one language model.

    python mixed_prompt.py my-imu walk.csv my-image street.jpg --ask "Is it too fast for this place?"

The folders are what `semi adapt imu` and `semi adapt image` wrote with one foundation: the language model is loaded
once, and each integration has a small projector of its own in front of it. `walk.csv`, or a rosbag2 folder, stands for
the driver of a sensor, which pushes from a thread of its own while the language model writes.
"""

from __future__ import annotations

import argparse
import time
from threading import Thread

import semi
from semi.plugins import load_modality
from semi.streams.sources import Source, open_source
from semi.streams.stream import Stream


def drive(source: Source, stream: Stream, speed: float) -> None:
    """Push samples at the pace of their stamps."""
    started, first = time.monotonic(), None
    for stamp, sample in source:
        first = stamp if first is None else first
        time.sleep(max(0.0, started + (stamp - first) / 1e9 / speed - time.monotonic()))
        stream.push(stamp, sample)


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask about a movement and a picture at once.")
    parser.add_argument("imu", help="what `semi adapt imu` wrote")
    parser.add_argument("recording", help="stamped samples: .csv, .npz, rosbag2 folder, .mcap")
    parser.add_argument("image", help="what `semi adapt image` wrote")
    parser.add_argument("picture", help="a picture file")
    parser.add_argument("--ask", default="What is going on?")
    parser.add_argument("--window", type=float, default=4.0, help="seconds, as long as the integration's samples")
    parser.add_argument("--speed", type=float, default=1.0, help="times real time")
    options = parser.parse_args()

    source = open_source(options.recording, load_modality("imu"))
    # one placeholder a sample, in the order in which they are given to `ask`
    question = f"The wrist: <|modality|>\nThe camera: <|modality|>\n{options.ask}"
    with semi.Session.load(options.imu, options.image) as session:
        stream = session.stream("imu", rate_hz=50.0, window_s=options.window, hop_s=1.0)
        picture = session.read("image", options.picture)  # a camera would have each new frame read
        sensor = Thread(target=drive, args=(source, stream, options.speed), daemon=True)
        sensor.start()
        while (reading := stream.async_read(timeout_ms=1000)) or sensor.is_alive():
            if reading is not None:
                answer = session.ask(question, [stream, picture]).result()
                wrist, _ = answer.readings  # the newest: those that came during the last answer are passed over
                print(f"{wrist.end_ns / 1e9:.2f} s, nearest is {wrist.nearest[0].label!r}: {answer.text}", flush=True)
        sensor.join()


if __name__ == "__main__":
    main()
