"""From what users say to the numbers of one face."""

from __future__ import annotations

import torch
from torch import Tensor

from instaface.edit.edit import CAMERA, LIMITS, NEUTRAL, Edit, Light
from instaface.edit.presets import EYE_LOOKS
from instaface.errors import InstaFaceError
from instaface.face import FaceParameters, Mesh, MorphableModel, rotation_from_angles
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
    mixed = {
        name: torch.lerp(getattr(a, name), getattr(b, name), t) for name in ("head", "expression", "gaze", "light")
    }
    return a.replace(**mixed)


def sequence(a: FaceParameters, b: FaceParameters, n: int) -> list[FaceParameters]:
    """``n`` parameters, at least 2, from ``a`` to ``b`` in equal steps, both ends included."""
    if n < 2:
        raise InstaFaceError(f"a sequence of {n} pictures has no start and end: give at least 2")
    return [interpolate(a, b, k / (n - 1)) for k in range(n)]


def _head(edit: Edit, head: Tensor) -> Tensor:
    out = head.clone()
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


def _expression(edit: Edit, expression: Tensor, model: MorphableModel) -> Tensor:
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


def _gaze(edit: Edit, edited: FaceParameters, model: MorphableModel) -> Tensor:
    """(1, 2, 2) gaze after an edit; ``edited`` has the new head pose."""
    gaze = edited.gaze.clone()
    if edit.gaze == CAMERA:
        gaze = gaze_into_camera(edited, model)
    elif edit.gaze is not None:
        gaze[:] = torch.tensor(edit.gaze)
    looks: dict[tuple[int, int], float] = {}
    for name, (eye, axis, sign) in EYE_LOOKS.items():
        if name in edit.weights:
            looks[eye, axis] = looks.get((eye, axis), 0.0) + sign * EYE_LOOK_DEGREES * edit.weights[name]
    for (eye, axis), angle in looks.items():
        gaze[:, eye, axis] = angle
    return gaze


def gaze_into_camera(parameters: FaceParameters, model: MorphableModel) -> Tensor:
    """(1, 2, 2) gaze with which each eye looks at the camera's origin, within what eyes can do."""
    vertices = model.vertices(parameters)[0]
    eyes = torch.stack([_centre(vertices[model.regions[f"eyeball_{side}"]]) for side in ("left", "right")])
    direction = torch.nn.functional.normalize(-eyes, dim=-1) @ rotation_from_angles(parameters.head[0])
    x, y, z = direction.unbind(-1)
    angles = torch.rad2deg(torch.stack([torch.atan2(x, z), torch.asin(y.clamp(-1, 1))], -1))
    limit = torch.tensor([LIMITS["gaze x"][1], LIMITS["gaze y"][1]])
    return torch.clamp(angles, -limit, limit)[None]


def _centre(points: Tensor) -> Tensor:
    """(N, 3) points on a sphere to its centre, by least squares."""
    middle = points.mean(0)
    local = (points - middle).double()
    system = torch.cat([2 * local, torch.ones(len(local), 1, dtype=torch.float64)], 1)
    solution = torch.linalg.lstsq(system, local.square().sum(1, keepdim=True)).solution
    return middle + solution[:3, 0].float()


def _light(light: Light, parameters: FaceParameters, model: MorphableModel) -> Tensor:
    """(1, 9, 3) coefficients; see :class:`Light` for what the numbers mean."""
    normals = facing_normals(parameters, model)
    mean = shade(normals[None], parameters.light)[0].clamp(min=0).mean(0)  # the photo's exposure and colour
    frontal = normals[:, 2].clamp(min=0).mean()
    direction = direction_from_angles(torch.tensor([light.azimuth]), torch.tensor([light.elevation]))
    strength = torch.tensor([light.strength * (1 - light.ambient)]) / frontal
    return directional(direction, strength, torch.tensor([light.ambient])) * mean


def facing_normals(parameters: FaceParameters, model: MorphableModel) -> Tensor:
    """(N, 3) unit normals of the face's vertices that look towards the camera."""
    vertices = model.vertices(parameters)
    mesh = Mesh(vertices, model.faces, model.uv, model.uv_faces)
    face = model.regions["face"]
    normals, points = mesh.normals()[0, face], vertices[0, face]
    return normals[(normals * points).sum(-1) < 0]
