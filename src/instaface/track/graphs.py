"""The networks of the ``mediapipe`` package, each built once and quiet.

MediaPipe (Lugaresi et al. 2019) runs its networks inside of calculator graphs. A graph is not thread-safe, so each one
stands behind a lock.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

LATE = ("matplotlib", "matplotlib.pyplot", "mediapipe.tasks", "mediapipe.tasks.python")

# One square picture in, the face's landmarks and the network's belief that there is a face out.
_LANDMARK_GRAPH = """
input_stream: "image"
input_stream: "roi"
input_side_packet: "with_attention"
output_stream: "landmarks"
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:landmarks"
}
"""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """MediaPipe, with what its C++ code writes to standard error while it builds a graph kept from the terminal."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        _import_mediapipe()
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


@functools.cache
def _import_mediapipe() -> None:
    """Imports MediaPipe without what takes longer than itself, and what it hardly needs: matplotlib, for plots, and its
    own second interface. The real ones are imported when they are used."""
    late = {name: ModuleType(name) for name in LATE if name not in sys.modules}
    for name, module in late.items():
        module.__getattr__ = functools.partial(_late, name)  # type: ignore[method-assign]
        package, _, own = name.rpartition(".")
        if package in late:
            setattr(late[package], own, module)
    sys.modules |= late
    try:
        import mediapipe  # noqa: F401
    finally:
        for name in late:
            del sys.modules[name]


def _late(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


class Graph:
    """One MediaPipe solution behind a lock."""

    def __init__(self, solution: Any) -> None:
        self._solution = solution
        self._lock = threading.Lock()

    def __call__(self, inputs: Any) -> dict[str, Any]:
        """The graph's output streams by name; None where a stream stayed empty."""
        with self._lock:
            outputs = self._solution.process(inputs)
            return {name: getattr(outputs, name) for name in outputs._fields}


def _warmed(solution: Any, inputs: Any) -> Graph:
    """A graph that has run once: the first run allocates, and logs."""
    graph = Graph(solution)
    graph(inputs)
    return graph


@functools.cache
def detector(full_range: bool) -> Graph:
    """Face detection: faces that fill the picture (128 x 128 input) or small ones too (192 x 192)."""
    with _quiet():
        from mediapipe.python.solutions.face_detection import FaceDetection

        solution = FaceDetection(min_detection_confidence=0.3, model_selection=int(full_range))
        return _warmed(solution, np.zeros((192, 192, 3), np.uint8))


@functools.cache
def _landmarker() -> Graph:
    with _quiet():
        from google.protobuf import text_format
        from mediapipe.framework import calculator_pb2
        from mediapipe.python.solution_base import SolutionBase

        solution = SolutionBase(
            graph_config=text_format.Parse(_LANDMARK_GRAPH, calculator_pb2.CalculatorGraphConfig()),
            side_inputs={"with_attention": True},
            outputs=["landmarks"],
        )
        return _warmed(solution, {"image": np.zeros((192, 192, 3), np.uint8), "roi": _whole()})


@functools.cache
def _whole() -> Any:
    """The rectangle that covers a picture."""
    from mediapipe.framework.formats import rect_pb2

    return rect_pb2.NormalizedRect(x_center=0.5, y_center=0.5, width=1, height=1, rotation=0)


def landmarks(crop: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Face Mesh with attention (Grishchenko et al. 2020) on an upright square crop of one face.

    Args:
        crop: (192, 192, 3) uint8 RGB.

    Returns:
        (478, 3) float32: x, y in 0..1 of the crop and relative depth in the same unit, away from the camera positive;
        None where the network sees no face.
    """
    found = _landmarker()({"image": np.ascontiguousarray(crop), "roi": _whole()})["landmarks"]
    if found is None:
        return None
    return np.array([(p.x, p.y, p.z) for p in found.landmark], np.float32)


@functools.cache
def _segmenter() -> Graph:
    with _quiet():
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

        return _warmed(SelfieSegmentation(model_selection=0), np.zeros((256, 256, 3), np.uint8))


def person(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Selfie segmentation: (256, 256, 3) uint8 RGB to (256, 256) float32, the probability 0..1 of a person."""
    return np.array(_segmenter()(np.ascontiguousarray(crop))["segmentation_mask"], np.float32)


@functools.cache
def _hand_landmarker() -> Graph:
    with _quiet():
        from mediapipe.python.solutions.hands import Hands

        solution = Hands(static_image_mode=True, max_num_hands=4, min_detection_confidence=0.1)
        return _warmed(solution, np.zeros((192, 192, 3), np.uint8))


def hands(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Hand landmarks: (H, W, 3) uint8 RGB to (21, 2) float32 of each hand, x and y in 0..1 of the picture."""
    found = _hand_landmarker()(np.ascontiguousarray(pixels))["multi_hand_landmarks"] or []
    return [np.array([(p.x, p.y) for p in hand.landmark], np.float32) for hand in found]
