"""Integrations of several modalities over one language model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch

from semi.errors import InputError
from semi.integration import Integration, Parts

P = TypeVar("P", Integration, Parts)


def load_integrations(
    folders: Sequence[str | Path], device: torch.device | str | None = None
) -> dict[str, Integration]:
    """The integrations by their modalities; the language model is in memory once.

    Raises:
        InputError: none, or two of one modality.
        ArtifactError: as `Integration.load`, also where they were made with different language models.
    """
    integrations: list[Integration] = []
    language_model = None
    for folder in folders:
        integration = Integration.load(folder, language_model=language_model, device=device)
        language_model = integration.language_model
        integrations.append(integration)
    return by_modality(integrations)


def by_modality(found: Sequence[P]) -> dict[str, P]:
    """Integrations, or their parts, by modality.

    Raises:
        InputError: none, or two of one modality.
    """
    named = {each.record.modality: each for each in found}
    if len(named) != len(found) or not named:
        raise InputError(
            "a session needs integrations of different modalities",
            got=", ".join(each.record.modality for each in found) or "none",
            expected="one folder a modality",
        )
    return named
