"""Integrations as ONNX: encoder, alignment and projector in one graph, and a runner that needs no PyTorch.

A plugin's encoder that can go along has a method `network() -> Network`.
"""

from semi.export.network import Network

__all__ = ["Network"]
