"""Assets: pinned packages of weights or data, fetched from package indexes, unpacked, never installed or imported."""

from semi.assets.asset import Archive, Asset
from semi.assets.cache import cache_dir
from semi.assets.catalog import CORE

__all__ = ["CORE", "Archive", "Asset", "cache_dir"]
