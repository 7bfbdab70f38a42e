"""A ROS 2 node: sensor_msgs/Imu in, what semi reads of it out, as JSON in std_msgs/String.

    python3 ros2_node.py --ros-args -p folder:=my-imu -p topic:=/imu/data
    ros2 topic echo /semi/reading

`folder` is what `semi adapt imu` wrote. Needs a ROS 2 with Python 3.11 or later: Jazzy and its successors. On Humble,
whose Python is 3.10, a node runs what `semi export --format onnx` writes instead.
"""

from __future__ import annotations

import json

import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Imu
from std_msgs.msg import String

import semi
from semi.errors import SessionError


class Reader(Node):
    """Pushes every message into a stream, and publishes each new reading."""

    def __init__(self) -> None:
        super().__init__("semi")
        folder = self.declare_parameter("folder", "my-imu").value
        topic = self.declare_parameter("topic", "/imu/data").value
        window_s = self.declare_parameter("window_s", 4.0).value
        hop_s = self.declare_parameter("hop_s", 0.5).value
        self.session = semi.Session.load(folder)
        # the best effort that sensors are sent with may change the order of messages
        self.stream = self.session.stream("imu", rate_hz=50.0, window_s=window_s, hop_s=hop_s, out_of_order="sort")
        self.session.warmup()
        self.publisher = self.create_publisher(String, "~/reading", 10)
        self.create_subscription(Imu, topic, self.push, qos_profile_sensor_data)
        self.create_timer(hop_s / 4, self.publish)

    def push(self, message: Imu) -> None:
        """The stamp is that of the measurement, not of its arrival."""
        stamp, a, w = message.header.stamp, message.linear_acceleration, message.angular_velocity
        self.stream.push(stamp.sec * 1_000_000_000 + stamp.nanosec, (a.x, a.y, a.z, w.x, w.y, w.z))

    def publish(self) -> None:
        """Publish the newest reading, if it is new; this never waits."""
        try:
            reading = self.stream.async_read(timeout_ms=0)
        except SessionError as error:
            if not error.retriable:
                raise
            self.get_logger().warning(str(error))  # this window could not be read; the next may be
            return
        if reading is not None:
            told = {
                "start_ns": reading.start_ns,
                "end_ns": reading.end_ns,
                "label": reading.nearest[0].label,
                "distance": reading.nearest[0].distance,
                "unlike_anything_seen": reading.unlike_anything_seen,
            }
            self.publisher.publish(String(data=json.dumps(told)))

    def destroy_node(self) -> None:
        """Ends the session's threads with the node."""
        self.session.close()
        super().destroy_node()


def main() -> None:
    rclpy.init()
    node = Reader()
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
