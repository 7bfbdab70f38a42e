"""Sensors that never stop: stamped samples in, windows by stamp, nearest labels in milliseconds, text when ready."""
