"""Nearness in meaning, as a text encoder sees it."""

from __future__ import annotations

from collections.abc import Sequence

from semi.modality import Encoder


def cosine(generated: Sequence[str], references: Sequence[str], encoder: Encoder) -> float:
    """Mean cosine of the embeddings of texts and their references, -1 to 1; a text without words counts as 0."""
    import numpy as np

    if len(generated) != len(references):
        raise ValueError(f"{len(generated)} texts for {len(references)} references")
    spoken = [i for i, text in enumerate(generated) if text.strip()]  # encoders differ in what they make of nothing
    if not spoken:
        return 0.0
    ours = np.asarray(encoder.encode([generated[i] for i in spoken]), np.float64)
    theirs = np.asarray(encoder.encode([references[i] for i in spoken]), np.float64)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    products = (ours * theirs).sum(axis=1)
    return float(np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0).sum() / len(generated))
