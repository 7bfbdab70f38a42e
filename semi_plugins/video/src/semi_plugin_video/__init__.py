"""Video for semi: modality "video" and data sets of captioned clips."""
