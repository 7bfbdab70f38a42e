"""Embeddings computed once and kept: in memory, or in a folder of shards that a killed run resumes from."""

from semi.encoding.embedding import embed
from semi.encoding.engine import Engine, LocalEngine, Shard
from semi.encoding.folder import KIND, EncodedSet, encode, load_encoded, write_encoded

__all__ = ["KIND", "EncodedSet", "Engine", "LocalEngine", "Shard", "embed", "encode", "load_encoded", "write_encoded"]
