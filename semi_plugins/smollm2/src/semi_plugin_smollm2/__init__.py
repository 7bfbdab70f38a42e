"""A foundation of semi for SmolLM2-135M-Instruct."""
