"""How much of its own task each of several merged language models keeps: `python -m benchmarks.retention`."""
