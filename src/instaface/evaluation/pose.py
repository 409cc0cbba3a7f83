"""Head pose by two judges that are not the tracker: they know nothing of the fitted face, its identity or expression.

One is perspective-n-point on rigid landmarks of a generic face; its landmarks are those that the tracker sees. The
other takes nothing from the tracker but where the face is: five points of dlib's predictor, another method learned
from other data. A person's own proportions shift what they read, so they judge changes: edit less source.

No judge is perfect. What each reads of turns that are known, on renderings of people that nothing was chosen on, is in
``judges.json`` (:func:`known_turns`; made by ``tools/measure_judges.py``) and stands in every report.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instaface.face import Camera

# Face Mesh landmarks of the nose, the glabella and the corners of the eyes, which the expression hardly moves, on the
# mean face of OpenHead: centimetres, x right of the picture, y up, z to the viewer. Its depth is taken times 0.9: the
# landmark network moves points less than a turned head does, and so yaw and pitch come out whole. Landmarks and factor
# were chosen on renderings of known pose (training faces' shape, albedo and light); forehead and temples, which the
# network hardly moves when the head nods, are left out.
MIDLINE = {
    9: (0.0, 3.63, -0.14),
    8: (0.0, 2.77, -0.20),
    168: (0.0, 1.89, -0.23),
    6: (0.0, 1.02, 0.18),
    197: (0.0, 0.30, 0.68),
    195: (0.0, -0.32, 1.12),
    5: (0.0, -1.01, 1.60),
    4: (0.0, -1.84, 1.94),
    1: (0.0, -2.45, 1.77),
    2: (0.0, -3.16, 0.68),
}
PAIRS = {
    (263, 33): (4.52, 1.40, -1.92),
    (362, 133): (1.75, 1.25, -1.46),
    (327, 98): (1.62, -3.07, -0.32),
}
NO_DISTORTION = np.zeros(4)

# The base of the nose from the middle of the eyes, in distances between the eyes' middles: down, towards the viewer as
# yaw shows it, and as pitch shows it (the predictor sees two thirds of a nod). Chosen on the same renderings.
NOSE_DOWN, NOSE_OUT, NOSE_OUT_NOD = 0.76, 0.60, 0.40


def rigid_points() -> tuple[list[int], NDArray[np.float64]]:
    """Face Mesh indices of P rigid landmarks and (P, 3) where they lie on the generic face."""
    indices, points = list(MIDLINE), list(MIDLINE.values())
    for (left, right), (x, y, z) in PAIRS.items():
        indices += [left, right]
        points += [(x, y, z), (-x, y, z)]
    return indices, np.array(points)


def pose_by_pnp(landmarks: NDArray[np.floating], camera: Camera) -> NDArray[np.float64]:
    """(478, 2) Face Mesh landmarks in pixels of the camera's picture to (3,) degrees: yaw, pitch, roll."""
    import cv2

    from instaface.face import angles_from_rotation

    indices, points = rigid_points()
    matrix = np.array([[camera.focal, 0, camera.center[0]], [0, camera.focal, camera.center[1]], [0, 0, 1.0]])
    pixels = np.asarray(landmarks, np.float64)[indices]
    _, turn, shift = cv2.solvePnP(points, pixels, matrix, NO_DISTORTION, flags=cv2.SOLVEPNP_SQPNP)
    turn, _ = cv2.solvePnPRefineLM(points, pixels, matrix, NO_DISTORTION, turn, shift)
    rotation = np.diag([1.0, -1, -1]) @ cv2.Rodrigues(turn)[0]  # OpenCV looks along +z with y down
    return angles_from_rotation(rotation)


def pose_by_five_points(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(5, 2) corners of the eyes and base of the nose in pixels to (3,) degrees: yaw, pitch, roll.

    The line of the eyes tells the roll, the nose beside their middle the yaw, the nose below it the pitch; far from
    the camera and for turns of one axis at a time, exactly so for a face of the proportions above.

    Args:
        points: outer and inner corner of the subject's left eye, the same of the right eye, base of the nose.
    """
    points = np.asarray(points, np.float64)
    left, right = points[:2].mean(0), points[2:4].mean(0)
    along = left - right
    roll = np.arctan2(along[1], along[0])
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    beside, below = turn @ (points[4] - (left + right) / 2) / np.linalg.norm(along)
    yaw = np.arctan2(beside, NOSE_OUT)
    seen = np.clip(below * np.cos(yaw) / np.hypot(NOSE_DOWN, NOSE_OUT_NOD), -1, 1)
    pitch = np.arccos(seen) - np.arctan2(NOSE_OUT_NOD, NOSE_DOWN)
    return np.degrees([yaw, pitch, roll])


def known_turns() -> dict[str, Any]:
    """What each judge reads of turns that are known: ``people``, and for each judge and turn its mean and deviation."""
    return dict(json.loads((files(__package__) / "judges.json").read_text(encoding="utf-8")))
