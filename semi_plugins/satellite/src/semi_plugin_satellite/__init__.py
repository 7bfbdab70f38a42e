"""Satellite pictures for semi: modality "satellite", data sets "land-cover" and "land-cover-fine"."""
