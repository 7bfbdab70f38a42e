"""Photographs of the deep sky for semi: modality "astro" and data set "deep-sky"."""
