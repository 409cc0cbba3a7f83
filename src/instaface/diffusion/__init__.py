"""The networks and the pipeline: maps guide a diffusion model. Names are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "Autoencoder": "autoencoder",
    "FusionController": "fusion",
    "GuidanceNetwork": "guidance",
    "IdentityPreserver": "identity",
    "InstaFaceOutput": "pipeline",
    "InstaFacePipeline": "pipeline",
    "ModelConfig": "config",
}

__all__ = [
    "Autoencoder",
    "FusionController",
    "GuidanceNetwork",
    "IdentityPreserver",
    "InstaFaceOutput",
    "InstaFacePipeline",
    "ModelConfig",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"instaface.diffusion.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'instaface.diffusion' has no attribute {name!r}")
