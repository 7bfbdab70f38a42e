"""`python -m semi.cli`, the same as `semi`."""

from semi.cli import app

if __name__ == "__main__":  # a process of `semi train --launch` imports it
    app()
