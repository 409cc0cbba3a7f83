"""How well a small classifier, trained on the spot, tells edits from photos."""

from __future__ import annotations

from collections.abc import Sequence

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
    values = [pixels.reshape(-1, 3).mean(0) / 255, pixels.reshape(-1, 3).std(0) / 255]
    for level in laplacian_pyramid(pixels)[:-1]:
        grey = level.mean(2)
        for row in np.array_split(grey, CELLS):
            for cell in np.array_split(row, CELLS, axis=1):
                square = float((cell**2).mean()) + 1e-9
                values.append([np.log(square), np.log(float((cell**4).mean()) / square**2 + 1e-9)])
    values.append(radial_spectrum(pixels.mean(2)))
    return np.concatenate(values).astype(np.float32)


def radial_spectrum(grey: NDArray[np.floating]) -> NDArray[np.float64]:
    """(RINGS,) log power of a (H, W) picture by spatial frequency, from 0 to the Nyquist frequency."""
    window = np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1]))
    power = np.abs(np.fft.rfft2((grey - grey.mean()) / 255 * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(grey.shape[0])[:, None], np.fft.rfftfreq(grey.shape[1])[None])
    ring = np.minimum((frequency * 2 * RINGS).astype(int), RINGS)
    total = np.bincount(ring.ravel(), power.ravel(), RINGS + 1)[:RINGS]
    return np.log(total / np.bincount(ring.ravel(), minlength=RINGS + 1)[:RINGS] + 1e-9)


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
