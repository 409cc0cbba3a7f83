"""Head angles and rotation matrices, with the signs that users meet.

Camera space: x to the right edge of the picture, y up, z towards the viewer; right-handed.

=======  =======================================================
angle    positive
=======  =======================================================
yaw      turns the nose towards the right edge of the picture
pitch    raises the nose
roll     tilts the head clockwise as seen
=======  =======================================================

``R = R_yaw @ R_pitch @ R_roll``. FLAME and DECA count pitch and roll the other way round.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_from_angles(angles: Tensor) -> Tensor:
    """Rotation matrices of (yaw, pitch, roll).

    Args:
        angles: (..., 3) degrees: yaw, pitch, roll.

    Returns:
        (..., 3, 3) matrices for column vectors.
    """
    yaw, pitch, roll = torch.deg2rad(angles).unbind(-1)
    cy, sy, cp, sp, cr, sr = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin(), roll.cos(), roll.sin()
    # The product R_y(yaw) R_x(-pitch) R_z(-roll), written out.
    rows = [
        [cy * cr + sy * sp * sr, cy * sr - sy * sp * cr, sy * cp],
        [-cp * sr, cp * cr, sp],
        [-sy * cr + cy * sp * sr, -sy * sr - cy * sp * cr, cy * cp],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def angles_from_rotation(rotation: Tensor) -> Tensor:
    """Inverse of :func:`rotation_from_angles`: (..., 3, 3) matrices to (..., 3) degrees.

    Yaw lies in -180..180, pitch in -90..90, roll in -180..180.
    """
    pitch = torch.asin(rotation[..., 1, 2].clamp(-1, 1))
    yaw = torch.atan2(rotation[..., 0, 2], rotation[..., 2, 2])
    roll = torch.atan2(-rotation[..., 1, 0], rotation[..., 1, 1])
    return torch.rad2deg(torch.stack([yaw, pitch, roll], -1))
