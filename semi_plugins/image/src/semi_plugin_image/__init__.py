"""Pictures as a modality of semi."""
