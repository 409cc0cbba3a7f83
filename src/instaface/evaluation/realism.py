"""Realism of sets of pictures: one row of the table for an edit, from the stored views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instaface.evaluation.detection import detection_auc, features
from instaface.evaluation.inception import INCEPTION, frechet_distance, inception_features, kernel_distance, missing
from instaface.evaluation.patches import LEVELS, PATCHES, Descriptors, excess, laplacian_pyramid, patch_corners, patches
from instaface.evaluation.run import invented_path, view_path

FEWEST = 4  # pictures; fewer say nothing of a distribution
PATCH_DISTANCE, FLOOR = "patch distance", "its floor"
INVENTED, INVENTED_FLOOR = "patch distance, invented", "its floor, invented"
AUC = "told from photos"
TEXTS = {
    PATCH_DISTANCE: "sliced Wasserstein distance of Laplacian-pyramid patches x 1000, excess over the floor",
    FLOOR: "the same between two halves of the photos",
    INVENTED: "the same where the camera never saw anything",
    INVENTED_FLOOR: "the same between two halves of the photos, at these places",
    AUC: "area under the ROC curve of a small classifier, cross-validated over people; 0.5 cannot tell",
    "FID": "Frechet distance of Inception features",
    "KID": "kernel distance of Inception features x 1000",
}


def realism_of_edit(folder: Path, pairs: list[tuple[str, str]]) -> dict[str, float]:
    """Realism of the pictures of one edit.

    Args:
        folder: of the report.
        pairs: (source, row id) of each picture.
    """
    if len(pairs) < FEWEST:
        return {}
    photos = [_read(view_path(folder, source)) for source, _ in pairs]
    edits = [_read(view_path(folder, name)) for _, name in pairs]
    people = [source for source, _ in pairs]
    whole = [np.ones(photo.shape[:2], bool) for photo in photos]
    figures = dict(zip((PATCH_DISTANCE, FLOOR), _patch_distance(edits, photos, whole), strict=True))
    masks = [_read_mask(invented_path(folder, name)) for _, name in pairs]
    some = [k for k, mask in enumerate(masks) if mask is not None and mask.mean() > 0.001]
    if len(some) >= FEWEST:
        chosen = ([items[k] for k in some] for items in (edits, photos, masks))
        figures |= dict(zip((INVENTED, INVENTED_FLOOR), _patch_distance(*chosen), strict=True))  # type: ignore[arg-type]
    real_features, edit_features = (np.array([features(picture) for picture in group]) for group in (photos, edits))
    figures[AUC] = detection_auc(real_features, edit_features, people, people)
    if not missing(INCEPTION):
        real, made = (np.concatenate([inception_features(p[None]) for p in group]) for group in (photos, edits))
        figures |= {"FID": frechet_distance(real, made), "KID": 1000 * kernel_distance(real, made)}
    return figures


def _patch_distance(
    edits: list[NDArray[np.uint8]], photos: list[NDArray[np.uint8]], masks: list[NDArray[np.bool_]]
) -> tuple[float, float]:
    """Excess and floor, means over the levels of the pyramid; patches lie in the masks, at the same places in both."""
    sets: list[tuple[list[Descriptors], list[Descriptors]]] = [([], []) for _ in range(LEVELS)]
    for index, (edit, photo, mask) in enumerate(zip(edits, photos, masks, strict=True)):
        pyramids = laplacian_pyramid(edit), laplacian_pyramid(photo)
        rng = np.random.default_rng(index)
        for level in range(LEVELS):
            corners = patch_corners(mask, level, PATCHES, rng)
            if corners is not None:
                for side in (0, 1):
                    sets[level][side].append(patches(pyramids[side][level], corners))
    scores = [excess(*both) for both in sets if len(both[0]) >= FEWEST]
    means = np.mean(scores, axis=0) if scores else (float("nan"), float("nan"))
    return float(means[0]), float(means[1])


def _read(path: Path) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))


def _read_mask(path: Path) -> NDArray[np.bool_] | None:
    from PIL import Image

    return np.asarray(Image.open(path)) > 127 if path.is_file() else None


def realism_table(results: dict[str, dict[str, float]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Rows of the realism table by edit; the mean over the edits last."""
    from instaface.evaluation.tables import ALL

    table = {edit: {name: {"value": value} for name, value in row.items()} for edit, row in results.items() if row}
    means = {
        name: {"value": float(np.mean([row[name] for row in results.values() if name in row]))}
        for name in TEXTS
        if any(name in row for row in results.values())
    }
    return table | ({ALL: means} if means else {})
