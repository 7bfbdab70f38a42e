"""Molecules for semi: modality and data set "molecules"."""
