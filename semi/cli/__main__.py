"""`python -m semi.cli`, the same as `semi`."""

from semi.cli import app

app()
