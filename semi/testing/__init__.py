"""For authors of plugins: does an encoder, or a whole modality, keep what semi expects of it? Needs no pytest."""

from semi.testing.conformance import ModalityConformance, conformance
from semi.testing.subject import ConformanceError

__all__ = ["ConformanceError", "ModalityConformance", "conformance"]
