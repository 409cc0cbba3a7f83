"""How well a small classifier, trained on the spot, tells edits from photos."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from instaface.evaluation.patches import laplacian_pyramid

CELLS = 4  # the picture is a grid of 4 x 4 cells
RINGS = 16  # of the power spectrum


def features(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 picture to a vector: what blur, noise, blocks, holes and seams change.

    Log energy and kurtosis of each level of the Laplacian pyramid in each cell of a grid, the radial power spectrum
    (up-sampling leaves traces in it: Durall et al. 2020), means and deviations of the colours.
    """
    import cv2

    values = [statistic[:, 0] / 255 for statistic in cv2.meanStdDev(pixels)]
    for level in laplacian_pyramid(pixels)[:-1]:
        squares = _grey(level) ** 2
        for row in np.array_split(squares, CELLS):
            for cell in np.array_split(row, CELLS, axis=1):
                square = float(cell.mean()) + 1e-9
                values.append([np.log(square), np.log(float((cell * cell).mean()) / square**2 + 1e-9)])
    values.append(radial_spectrum(_grey(pixels.astype(np.float32))))
    return np.concatenate(values).astype(np.float32)


def _grey(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) means of the channels of (H, W, 3)."""
    return (picture[..., 0] + picture[..., 1] + picture[..., 2]) / 3


def radial_spectrum(grey: NDArray[np.floating]) -> NDArray[np.float64]:
    """(RINGS,) log power of a (H, W) picture by spatial frequency, from 0 to the Nyquist frequency."""
    window, ring = _spectrum_parts(*grey.shape)
    power = np.abs(np.fft.rfft2((grey - grey.mean()) / 255 * window)) ** 2
    total = np.bincount(ring.ravel(), power.ravel(), RINGS + 1)[:RINGS]
    return np.log(total / np.bincount(ring.ravel(), minlength=RINGS + 1)[:RINGS] + 1e-9)


@lru_cache(maxsize=8)
def _spectrum_parts(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(H, W) Hann window of a picture and (H, W // 2 + 1) ring of each of its spectrum's frequencies."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    ring = np.minimum((frequency * 2 * RINGS).astype(int), RINGS)
    return np.outer(np.hanning(height), np.hanning(width)), ring


def detection_scores(
    photos: NDArray[np.floating], edits: NDArray[np.floating], folds: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a cross-validated logistic regression says of each picture: the higher, the more like an edit.

    Args:
        photos: (N, F) features of the photos.
        edits: (N, F) features of their edits.
        folds: the fold of each person, who is never in the training and the test part at once.

    Returns:
        (N,) scores of the photos and of the edits.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values = np.concatenate([photos, edits])
    labels = np.repeat([0, 1], len(photos))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    split = PredefinedSplit(np.tile(folds, 2))
    scores = cross_val_predict(model, values, labels, cv=split, method="decision_function")
    return scores[: len(photos)], scores[len(photos) :]


def area_under_roc(photos: NDArray[np.floating], edits: NDArray[np.floating]) -> float:
    """Area under the ROC curve of (N,) and (M,) scores: 0.5 cannot tell, 1 always can."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(np.repeat([0, 1], [len(photos), len(edits)]), np.concatenate([photos, edits])))
