"""Sounds as a modality of semi."""
