"""Satellite pictures for semi: modality "satellite" and data set "land-cover"."""
