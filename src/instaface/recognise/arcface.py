"""ArcFace (Deng et al. 2019) with insightface's weights, where the user has them.

insightface's code is MIT, its models are for non-commercial research only: they are never downloaded here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instaface.errors import InstaFaceError
from instaface.recognise.align import FIVE_POINTS, five_points
from instaface.recognise.recogniser import FaceRecogniser, unit

# Where the insightface package keeps its packs; antelopev2 (ResNet-100, Glint360K) before buffalo_l (ResNet-50).
FOLDER = Path.home() / ".insightface" / "models"
FILES = ("antelopev2/glintr100.onnx", "buffalo_l/w600k_r50.onnx")


class ArcFace(FaceRecogniser):
    """insightface's ArcFace through onnxruntime, 512 numbers a face.

    Args:
        weights: an ArcFace network as ONNX; by default what insightface keeps in the user's home.

    Raises:
        InstaFaceError: the weights or onnxruntime are not there.
    """

    name = "arcface"
    dimension = 512
    size = 112
    template = FIVE_POINTS
    threshold = 0.28  # the value of insightface's own demo
    licence = "insightface model: non-commercial research only"

    def __init__(self, weights: Path | None = None):
        self.weights = weights or _find_weights()
        self._session = _session(self.weights)

    def points(self, landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
        return five_points(landmarks)

    def embed(self, aligned: NDArray[np.uint8]) -> NDArray[np.float32]:
        if len(aligned) == 0:
            return np.zeros((0, self.dimension), np.float32)
        inputs = ((np.asarray(aligned, np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2)  # RGB
        name = self._session.get_inputs()[0].name
        return unit(np.concatenate([self._session.run(None, {name: face[None]})[0] for face in inputs]))


def _find_weights() -> Path:
    for file in FILES:
        if (FOLDER / file).is_file():
            return FOLDER / file
    raise InstaFaceError(
        f"ArcFace has no weights: put insightface's {FILES[0]} (non-commercial research only) under {FOLDER}, "
        "or choose the recogniser dlib"
    )


def _session(weights: Path) -> Any:
    if not weights.is_file():
        raise InstaFaceError(f"{weights} is not there: give the path of an ArcFace network as ONNX")
    try:
        import onnxruntime
    except ImportError:
        raise InstaFaceError("ArcFace needs onnxruntime: pip install onnxruntime") from None
    return onnxruntime.InferenceSession(str(weights), providers=onnxruntime.get_available_providers())
