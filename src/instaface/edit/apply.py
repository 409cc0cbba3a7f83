"""From what users say to the numbers of one face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instaface.edit.edit import CAMERA, LIMITS, NEUTRAL, Edit, Light
from instaface.edit.presets import EYE_LOOKS
from instaface.errors import InstaFaceError
from instaface.face import FaceParameters, MorphableModel, rotation_from_angles
from instaface.face.arrays import Array, like, unit
from instaface.face.light import direction_from_angles, directional, shade

EYE_LOOK_DEGREES = 30.0  # turn of the eyeball at weight 1 of an eyeLook blendshape


def apply(edit: Edit, parameters: FaceParameters, model: MorphableModel) -> FaceParameters:
    """The parameters of a face after an edit.

    Args:
        edit: what is asked.
        parameters: the tracked face, batch of 1.
        model: the face model that the parameters belong to.

    Returns:
        Edited parameters; identity, albedo, body and translation are the tracked ones.

    Raises:
        InstaFaceError: an added angle leaves the allowed range, or the model lacks a named expression.
    """
    edited = parameters.replace(
        head=_head(edit, parameters.head), expression=_expression(edit, parameters.expression, model)
    )
    edited = edited.replace(gaze=_gaze(edit, edited, model), jaw=parameters.jaw * (1 - edit.weights.get(NEUTRAL, 0.0)))
    if isinstance(edit.light, Light):
        edited = edited.replace(light=_light(edit.light, parameters, model))
    return edited


def interpolate(a: FaceParameters, b: FaceParameters, t: float) -> FaceParameters:
    """Parameters between those of two edits of the same face: head angles, expression, gaze and light, linearly.

    Args:
        a: at t = 0.
        b: at t = 1.
        t: 0..1.
    """
    if t == 0:
        return a
    names = ("head", "expression", "gaze", "light")
    return a.replace(**{name: (1 - t) * getattr(a, name) + t * getattr(b, name) for name in names})


def sequence(a: FaceParameters, b: FaceParameters, n: int) -> list[FaceParameters]:
    """``n`` parameters, at least 2, from ``a`` to ``b`` in equal steps, both ends included."""
    if n < 2:
        raise InstaFaceError(f"a sequence of {n} pictures has no start and end: give at least 2")
    return [interpolate(a, b, k / (n - 1)) for k in range(n)]


def _head(edit: Edit, head: Array) -> Array:
    out = head + 0  # a copy
    for k, (absolute, relative) in enumerate((("yaw", "turn"), ("pitch", "nod"), ("roll", "tilt"))):
        added, asked = getattr(edit, relative), getattr(edit, absolute)
        before = float(head[0, k]) if asked is None else asked
        low, high, unit = LIMITS[absolute]
        if added and not low <= before + added <= high:
            raise InstaFaceError(
                f"{relative}: {added:g} brings the {absolute} from {before:.0f} to {before + added:.0f}{unit}, "
                f"allowed are {low:g} to {high:g}"
            )
        if added or asked is not None:
            out[:, k] = before + added
    return out


def _expression(edit: Edit, expression: Array, model: MorphableModel) -> Array:
    out = expression * (1 - edit.weights.get(NEUTRAL, 0.0))
    names = {name: k for k, name in enumerate(model.expression_names)}
    for name, weight in edit.weights.items():
        if name == NEUTRAL or name in EYE_LOOKS:
            continue
        if name not in names:
            raise InstaFaceError(
                f"expression: the face model {model.name} has no {name}, use one of {', '.join(model.weight_names)}"
            )
        out[:, names[name]] = weight
    return out


def _gaze(edit: Edit, edited: FaceParameters, model: MorphableModel) -> Array:
    """(1, 2, 2) gaze after an edit; ``edited`` has the new head pose."""
    gaze = edited.gaze + 0  # a copy
    if edit.gaze == CAMERA:
        gaze = gaze_into_camera(edited, model)
    elif edit.gaze is not None:
        gaze[:] = like(edit.gaze, gaze)
    looks: dict[tuple[int, int], float] = {}
    for name, (eye, axis, sign) in EYE_LOOKS.items():
        if name in edit.weights:
            looks[eye, axis] = looks.get((eye, axis), 0.0) + sign * EYE_LOOK_DEGREES * edit.weights[name]
    for (eye, axis), angle in looks.items():
        gaze[:, eye, axis] = angle
    return gaze


def gaze_into_camera(parameters: FaceParameters, model: MorphableModel) -> Array:
    """(1, 2, 2) gaze with which each eye looks at the camera's origin, within what eyes can do."""
    vertices = np.asarray(model.vertices(parameters)[0])
    eyes = np.stack([_centre(vertices[model.regions[f"eyeball_{side}"]]) for side in ("left", "right")])
    x, y, z = (unit(-eyes) @ np.asarray(rotation_from_angles(parameters.head[0]))).T
    angles = np.rad2deg(np.stack([np.arctan2(x, z), np.arcsin(y.clip(-1, 1))], -1))
    limit = np.array([LIMITS["gaze x"][1], LIMITS["gaze y"][1]], np.float32)
    return like(angles.clip(-limit, limit)[None], parameters.gaze)


def _centre(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 3) points on a sphere to its centre, by least squares."""
    middle = points.mean(0)
    local = (points - middle).astype(np.float64)
    system = np.concatenate([2 * local, np.ones((len(local), 1))], 1)
    return middle + np.linalg.lstsq(system, (local**2).sum(1), None)[0][:3].astype(np.float32)


def _light(light: Light, parameters: FaceParameters, model: MorphableModel) -> Array:
    """(1, 9, 3) coefficients; see :class:`Light` for what the numbers mean."""
    normals = facing_normals(parameters, model)
    mean = shade(normals[None], parameters.light)[0].clip(0).mean(0)  # the photo's exposure and colour
    frontal = normals[:, 2].clip(0).mean()
    numbers = np.array([[light.azimuth], [light.elevation], [light.strength], [light.ambient]], np.float32)
    azimuth, elevation, strength, ambient = like(numbers, normals)
    direction = direction_from_angles(azimuth, elevation)
    return directional(direction, strength * (1 - ambient) / frontal, ambient) * mean


def facing_normals(parameters: FaceParameters, model: MorphableModel) -> Array:
    """(N, 3) unit normals of the face's vertices that look towards the camera."""
    mesh = model.mesh(parameters)
    face = like(model.regions["face"], mesh.vertices)
    normals, points = mesh.normals()[0, face], mesh.vertices[0, face]
    return normals[(normals * points).sum(-1) < 0]
