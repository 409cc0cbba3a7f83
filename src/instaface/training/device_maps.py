"""The face model's maps of training samples, rendered in batches where the networks are."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from instaface.face import Camera, FaceParameters
from instaface.render.torch_rasteriser import render_batch
from instaface.track.models import face_model

VIEW = "view"  # the part of a sample that its maps follow from


def view_of(parameters: FaceParameters, camera: Camera) -> dict[str, Tensor]:
    """What the maps of a face (batch of 1) follow from, without the batch's dimension."""
    numbers = torch.tensor([camera.focal, *camera.center, camera.width, camera.height], dtype=torch.float64)
    return {"camera": numbers, **{f.name: torch.as_tensor(getattr(parameters, f.name)[0]) for f in fields(parameters)}}


class DeviceMaps:
    """Puts the maps that a batch lacks beside those that it has.

    Args:
        name: of the face model.
        device: where it renders.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.model, self.device = face_model(name)[0].to(device), device

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch of samples with ``view``, see :func:`view_of`, as one without, with all maps."""
        rest = {name: value for name, value in batch.items() if name != VIEW}
        cameras = [Camera(f, (x, y), int(w), int(h)) for f, x, y, w, h in batch[VIEW]["camera"].tolist()]
        names = [f.name for f in fields(FaceParameters)]
        parameters = FaceParameters(**{name: batch[VIEW][name].to(self.device) for name in names})
        maps = render_batch(self.model, parameters, cameras).for_network()
        return {**rest, "maps": {**maps, **batch["maps"]}}
