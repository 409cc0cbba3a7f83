"""Accuracy of a face recogniser on pairs made from a folder of photos, one person a photo.

"Same" pairs are a photo and a changed copy of it (mirrored, turned and seen from aside by a perspective warp, of
another exposure and colour, blurred, re-compressed): easier than two photos of a person. "Different" pairs are two
photos of the same gender and group where labels are given: harder than random ones.

    python benchmarks/recogniser_accuracy.py PHOTOS --labels faces.csv --pairs 500
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.recognise import load_recogniser


def change(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Another picture of the same person: see the text above."""
    height, width = pixels.shape[:2]
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-0.1, 0.1, (4, 2)).astype(np.float32) * width
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-15, 15), rng.uniform(0.8, 1.2))
    matrix = np.vstack([turn, [0, 0, 1]]) @ cv2.getPerspectiveTransform(corners, moved)
    warped = cv2.warpPerspective(np.ascontiguousarray(pixels), matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    light = (warped / 255.0) ** rng.uniform(0.6, 1.6) * rng.uniform(0.8, 1.1, 3)
    blurred = cv2.GaussianBlur((light.clip(0, 1) * 255).astype(np.uint8), (0, 0), rng.uniform(0.3, 2.5))
    _, jpeg = cv2.imencode(".jpg", blurred, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 80))])
    return cv2.imdecode(jpeg, cv2.IMREAD_COLOR).astype(np.uint8)


def landmarks(mesh: object, pixels: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    found = mesh.process(pixels).multi_face_landmarks  # type: ignore[attr-defined]
    if not found:
        return None
    return np.array([[p.x, p.y] for p in found[0].landmark]) * (pixels.shape[1], pixels.shape[0])


def read(path: Path) -> NDArray[np.uint8]:
    return cv2.imread(str(path))[:, :, ::-1].copy().astype(np.uint8)


def different_pairs(files: list[Path], labels: Path | None, count: int) -> list[tuple[int, int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    named = {}
    if labels:
        named = {row["file"]: f"{row['gender']}/{row['group']}" for row in csv.DictReader(labels.open())}
    for index, file in enumerate(files):
        groups[named.get(file.name, "all")].append(index)
    pools = [group for group in groups.values() if len(group) > 1]
    rng = random.Random(0)
    return [tuple(rng.sample(rng.choice(pools), 2)) for _ in range(count)]  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--recogniser", default="dlib")
    options = parser.parse_args()

    import mediapipe

    mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True)
    recogniser = load_recogniser(options.recogniser)
    rng = np.random.default_rng(0)
    files = [f for f in sorted(options.photos.iterdir()) if f.suffix.lower() in (".jpg", ".jpeg", ".png")]
    files = random.Random(0).sample(files, min(options.pairs, len(files)))

    faces, changed, seconds = {}, {}, []
    for index, file in enumerate(files):
        pixels = read(file)
        copy = change(pixels, rng)
        for store, picture in ((faces, pixels), (changed, copy)):
            points = landmarks(mesh, picture)
            if points is not None:
                start = time.perf_counter()
                store[index] = recogniser.embed_face(picture, points)
                seconds.append(time.perf_counter() - start)
    same = np.array([recogniser.similarity(faces[i], changed[i]) for i in faces if i in changed])
    pairs = [(i, j) for i, j in different_pairs(files, options.labels, options.pairs) if i in faces and j in faces]
    different = np.array([recogniser.similarity(faces[i], faces[j]) for i, j in pairs])

    def accepted(threshold: float) -> tuple[float, float]:
        return float((same >= threshold).mean()), float((different >= threshold).mean())

    def accuracy(threshold: float) -> float:
        true, false = accepted(threshold)
        return (true + 1 - false) / 2

    best = max(np.concatenate([same, different]), key=accuracy)
    auc = float((same[:, None] > different[None]).mean())
    print(f"{recogniser.name}: {len(same)} same, {len(different)} different pairs ({recogniser.licence})")
    for name, values in (("same", same), ("different", different)):
        low, middle, high = np.percentile(values, [5, 50, 95])
        print(f"{name:10s} median {middle:.3f}, 5th to 95th percentile {low:.3f} to {high:.3f}")
    for name, threshold in (("published", recogniser.threshold), ("best here", best)):
        true, false = accepted(threshold)
        print(
            f"threshold {threshold:.3f} ({name}): accuracy {accuracy(threshold):.3f}, accepted {true:.3f} / {false:.3f}"
        )
    print(f"AUC {auc:.4f}; {1000 * np.median(seconds):.0f} ms a face")


if __name__ == "__main__":
    main()
