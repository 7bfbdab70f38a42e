"""Speech as a modality of semi."""
