"""Hot paths of semi: each operation with a plain PyTorch reference. Knows nothing of modalities."""
