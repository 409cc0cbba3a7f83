"""Tables and kernels that the first face needs, loaded on another core while the face is being found."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING

import numpy as np

from instaface.track.fit import landmark_basis
from instaface.track.light import albedo_parts, usual_light

if TYPE_CHECKING:
    from instaface.face import OpenHead


@functools.cache
def begin(model: OpenHead) -> None:
    """Starts to load them; what is asked for earlier is loaded by whoever asks."""
    threading.Thread(target=_load, args=(model,), daemon=True).start()


def _load(model: OpenHead) -> None:
    import cv2

    from instaface.render import rasterise

    landmark_basis(model)
    cv2.cvtColor(np.zeros((1, 1, 3), np.float32), cv2.COLOR_RGB2Lab)  # makes OpenCV's tables
    rasterise(np.array([(0, 0, 1), (0, 1, 1), (1, 0, 1)]), np.arange(3)[None], 1, 1)  # wakes the compiler up
    albedo_parts(model)
    usual_light()
