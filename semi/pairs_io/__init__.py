"""Pairs in and out: JSONL and CSV files, data sets of plugins, arrays with class labels. Needs no torch."""

from semi.pairs_io.labelled import read_labelled
from semi.pairs_io.reading import PairList, read_pairs
from semi.pairs_io.shots import draw_shots
from semi.pairs_io.writing import pairs_sha256, write_pairs

__all__ = ["PairList", "draw_shots", "pairs_sha256", "read_labelled", "read_pairs", "write_pairs"]
