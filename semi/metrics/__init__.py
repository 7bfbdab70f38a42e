"""Scores of generated text against one reference each."""

from semi.metrics.attributes import attribute_accuracy, vocabulary
from semi.metrics.cider import cider_d
from semi.metrics.cosine import cosine
from semi.metrics.overlap import bleu_4, meteor, rouge_l

__all__ = ["attribute_accuracy", "bleu_4", "cider_d", "cosine", "meteor", "rouge_l", "vocabulary"]
