"""Studies: many adaptations on the same data, side by side, resumable, with honest statistics."""
