"""Head pose by a judge that is not the tracker: perspective-n-point on rigid landmarks of a generic face.

It knows nothing of the fitted face, its identity or its expression. A person's own proportions shift its angles, so
it judges changes: edit less source.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instaface.face import Camera

# Face Mesh landmarks that the expression hardly moves, on the canonical face of MediaPipe (canonical_face_model.obj,
# Apache-2.0), centimetres, x right of the picture, y up, z to the viewer. The subject's right half is mirrored.
MIDLINE = {
    10: (0.0, 8.26, 4.48),
    168: (0.0, 3.27, 5.24),
    6: (0.0, 2.47, 5.79),
    197: (0.0, 1.73, 6.32),
    195: (0.0, 1.06, 6.77),
    5: (0.0, 0.37, 7.24),
    4: (0.0, -0.46, 7.59),
    2: (0.0, -2.09, 6.06),
}
PAIRS = {
    (263, 33): (4.45, 2.66, 3.17),
    (362, 133): (1.86, 2.59, 3.76),
    (372, 143): (6.41, 2.24, 1.56),
    (297, 67): (3.52, 8.01, 3.73),
    (284, 54): (6.28, 6.62, 1.43),
}

NO_DISTORTION = np.zeros(4)


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
    import torch

    from instaface.face import angles_from_rotation

    indices, points = rigid_points()
    matrix = np.array([[camera.focal, 0, camera.center[0]], [0, camera.focal, camera.center[1]], [0, 0, 1.0]])
    pixels = np.asarray(landmarks, np.float64)[indices]
    _, turn, shift = cv2.solvePnP(points, pixels, matrix, NO_DISTORTION, flags=cv2.SOLVEPNP_SQPNP)
    turn, _ = cv2.solvePnPRefineLM(points, pixels, matrix, NO_DISTORTION, turn, shift)
    rotation = np.diag([1.0, -1, -1]) @ cv2.Rodrigues(turn)[0]  # OpenCV looks along +z with y down
    return np.asarray(angles_from_rotation(torch.from_numpy(rotation)))
