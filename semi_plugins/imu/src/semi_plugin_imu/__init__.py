"""Inertial measurements for semi: modality "imu", data sets "imu" and "basic-motions"."""
