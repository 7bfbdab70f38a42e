"""Arithmetic of tiles and grids."""

from __future__ import annotations


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up: how many tiles of b hold a."""
    return -(-a // b)


def power_of_two(n: int, least: int = 16, most: int | None = None) -> int:
    """The least power of two that holds n, between two others; a product takes sides from 16 on."""
    found = max(least, 1 << max(n - 1, 0).bit_length())
    return found if most is None else min(found, most)
