"""Where measurements come from: arrays, tables in files, rosbags, LeRobot data sets."""
