"""`python -m semi`, the same as `semi`: what torchrun and `accelerate launch` start."""

from semi.cli import app

if __name__ == "__main__":  # a process of `semi train --launch` imports it
    app()
