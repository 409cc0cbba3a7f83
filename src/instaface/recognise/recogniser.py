"""The interface of a face recogniser."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from instaface.recognise.align import crop_similarity

N_FACE_MESH = 478  # points of MediaPipe Face Mesh with irises


class FaceRecogniser(ABC):
    """Turns an aligned face into a unit vector; two photos of one person give vectors with a high dot product.

    Attributes:
        name: short name, for tables.
        dimension: length D of an embedding.
        size: side S in pixels of an aligned face.
        template: (P, 2) float64, where P landmarks lie in an aligned face, in continuous pixels.
        threshold: similarity from which two faces count as the same person.
        licence: terms of the weights.
    """

    name: str
    dimension: int
    size: int
    template: NDArray[np.float64]
    threshold: float
    licence: str

    @abstractmethod
    def points(self, landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
        """(478, 2) MediaPipe Face Mesh landmarks to the (P, 2) points of the template."""

    @abstractmethod
    def embed(self, aligned: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, S, S, 3) uint8 sRGB aligned faces to (N, D) float32 vectors of length 1."""

    def align(self, pixels: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
        """The face of a photo, turned, scaled and cut as the recogniser wants it.

        Args:
            pixels: (H, W, 3) uint8 sRGB photo.
            landmarks: (478, 2) MediaPipe Face Mesh landmarks, or the template's own (P, 2) points, in continuous
                pixels of the photo.

        Returns:
            (S, S, 3) uint8.
        """
        landmarks = np.asarray(landmarks, np.float64)
        if landmarks.shape not in ((N_FACE_MESH, 2), self.template.shape):
            raise ValueError(f"landmarks have shape {landmarks.shape}, not (478, 2) or {self.template.shape}")
        points = self.points(landmarks) if len(landmarks) == N_FACE_MESH else landmarks
        return crop_similarity(pixels, points, self.template, self.size)

    def embed_face(self, pixels: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
        """(D,) embedding of one face of a photo; arguments as for :meth:`align`."""
        return self.embed(self.align(pixels, landmarks)[None])[0]

    def similarity(self, a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
        """Cosine similarity -1..1 of embeddings (..., D) and (..., D), broadcast."""
        return np.sum(np.asarray(a) * np.asarray(b), axis=-1)


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """(N, D) vectors scaled to length 1, float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
