"""dlib's face-recognition ResNet: the default recogniser, free for any use.

The network (29 convolutions, King 2017, 99.38 % on LFW) and the 5-point landmark predictor are the files that the
package ``face_recognition_models`` carries, dedicated to the public domain (CC0) by dlib's author. The package's
68-point predictor is not used: its training data is not free for commercial use.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instaface.errors import InstaFaceError
from instaface.recognise.recogniser import FaceRecogniser, unit

SIZE = 150
PADDING = 0.25
# dlib's mean face (image_transforms/interpolation.h, get_face_chip_details): outer and inner corner of the
# subject's left eye, the same of the right eye, base of the nose.
MEAN_FACE = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
FACE_MESH_POINTS = [263, 362, 33, 133, 2]  # the same five points in MediaPipe Face Mesh


class DlibResNet(FaceRecogniser):
    """dlib's ResNet, 128 numbers a face; about 20 ms a face on one core."""

    name = "dlib"
    dimension = 128
    size = SIZE
    template = (MEAN_FACE + PADDING) / (1 + 2 * PADDING) * SIZE
    threshold = 0.93  # DeepFace's for the cosine of this network; see docs/results.md for what it does here
    licence = "CC0-1.0 (public domain)"

    def points(self, landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray(landmarks, np.float64)[FACE_MESH_POINTS]

    def embed(self, aligned: NDArray[np.uint8]) -> NDArray[np.float32]:
        if len(aligned) == 0:
            return np.zeros((0, self.dimension), np.float32)
        import torch

        with torch.inference_mode():
            faces = torch.from_numpy(np.ascontiguousarray(aligned)).permute(0, 3, 1, 2)
            return unit(_network()(faces.float()).numpy())

    def find_points(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The template's five points of the largest upright face, by dlib's own detector, with no other landmarks.

        Args:
            pixels: (H, W, 3) uint8 sRGB photo.

        Returns:
            (5, 2) continuous pixels.

        Raises:
            InstaFaceError: dlib finds no face.
        """
        pixels = np.ascontiguousarray(pixels)
        boxes = _detector()(pixels, 1)
        if not boxes:
            raise InstaFaceError(f"no face found in a photo of {pixels.shape[1]} x {pixels.shape[0]} pixels")
        shape = _predictor()(pixels, max(boxes, key=lambda box: box.area()))
        return np.array([[p.x + 0.5, p.y + 0.5] for p in shape.parts()])


def five_points(pixels: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """dlib's five points of the upright face in a box, in the template's order.

    Args:
        pixels: (H, W, 3) uint8 sRGB photo.
        box: (x0, y0, x1, y1) of the face from brow to chin, in pixels.

    Returns:
        (5, 2) continuous pixels.
    """
    import dlib

    shape = _predictor()(np.ascontiguousarray(pixels), dlib.rectangle(*(round(side) for side in box)))
    return np.array([[p.x + 0.5, p.y + 0.5] for p in shape.parts()])


@cache
def _network() -> Any:
    from instaface.recognise.dlib_network import DlibNetwork

    return DlibNetwork.load(weights())


def weights() -> Path:
    """dlib's file of the network."""
    return _model("dlib_face_recognition_resnet_model_v1.dat")


@cache
def _predictor() -> Any:
    import dlib

    return dlib.shape_predictor(str(_model("shape_predictor_5_face_landmarks.dat")))


@cache
def _detector() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


def _model(file: str) -> Path:
    """A file of ``face_recognition_models``, found without importing it: its import needs an old setuptools."""
    spec = find_spec("face_recognition_models")
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = Path(folders[0]) / "models" / file if folders else None
    if path is None or not path.is_file():
        raise InstaFaceError(f"{file} is missing: pip install face_recognition_models")
    return path
