"""Text as a modality of semi."""
