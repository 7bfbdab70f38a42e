"""Training-free merging of fine-tuned models that share a base (MMER, arXiv 2505.17110), streamed from their files."""
