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

from instaface.face.arrays import Array, namespace


def rotation_from_angles(angles: Array) -> Array:
    """Rotation matrices of (yaw, pitch, roll).

    Args:
        angles: (..., 3) degrees: yaw, pitch, roll.

    Returns:
        (..., 3, 3) matrices for column vectors.
    """
    xp = namespace(angles)
    radians = xp.deg2rad(angles)
    (cy, cp, cr), (sy, sp, sr) = (xp.moveaxis(part, -1, 0) for part in (xp.cos(radians), xp.sin(radians)))
    # The product R_y(yaw) R_x(-pitch) R_z(-roll), written out.
    rows = [
        [cy * cr + sy * sp * sr, cy * sr - sy * sp * cr, sy * cp],
        [-cp * sr, cp * cr, sp],
        [-sy * cr + cy * sp * sr, -sy * sr - cy * sp * cr, cy * cp],
    ]
    return xp.stack([xp.stack(row, -1) for row in rows], -2)


def angles_from_rotation(rotation: Array) -> Array:
    """Inverse of :func:`rotation_from_angles`: (..., 3, 3) matrices to (..., 3) degrees.

    Yaw lies in -180..180, pitch in -90..90, roll in -180..180.
    """
    xp = namespace(rotation)
    pitch = xp.arcsin(rotation[..., 1, 2].clip(-1, 1))
    yaw = xp.arctan2(rotation[..., 0, 2], rotation[..., 2, 2])
    roll = xp.arctan2(-rotation[..., 1, 0], rotation[..., 1, 1])
    return xp.rad2deg(xp.stack([yaw, pitch, roll], -1))
