"""How the normals, albedo and rendering of a face are coded for a network: our way, and that of published models.

============  ==============  ===================  ======================  ====================  ==========
convention    normals         normals' background  albedo                  rendering             silhouette
============  ==============  ===================  ======================  ====================  ==========
instaface     -1..1           0                    sRGB as -1..1           sRGB as -1..1         smooth
diffusionrig  -1..1           0                    photo's values, 0..1    photo's values, 0..   hard
caphuman      -1..1           0                    photo's values, 0..1    photo's values, 0..   hard
arc2face      n/2 + 0.5       127/255              -                       -                     hard
============  ==============  ===================  ======================  ====================  ==========

Axes are the same in all: x to the right edge of the picture, y up, z to the viewer. DiffusionRig (Ding et al. 2023),
CapHuman (Liang et al. 2024) and Arc2Face's pose ControlNet (Papantoniou et al. 2024) take theirs from DECA's renderer:
one triangle a pixel, no culling, vertex normals interpolated but not renormalised, background 0. Their albedo and light
are in the photo's own values, not linear. DiffusionRig and CapHuman differ in the order of their channels alone, which
is that of the dict :func:`network_maps` returns; DiffusionRig besides shifts an edited face (:func:`recentred`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from instaface.errors import InstaFaceError
from instaface.face import Camera, FaceParameters, MorphableModel, rotation_from_angles
from instaface.face.light import shade
from instaface.render.maps import render_maps
from instaface.render.rasterise import interpolate, rasterise

if TYPE_CHECKING:
    from instaface.face.flame import FLAME

ARC2FACE_BACKGROUND = 127


def network_maps(
    convention: str,
    model: MorphableModel,
    parameters: FaceParameters,
    camera: Camera,
    size: tuple[int, int] | None = None,
) -> dict[str, Tensor]:
    """The maps of one face as a network of a convention takes them.

    Args:
        convention: one of :data:`CONVENTIONS`.
        model: the face model; DECA's conventions need FLAME.
        parameters: batch of 1.
        camera: of the picture.
        size: (width, height), by default the camera's.

    Returns:
        ``normals`` and, but for arc2face, ``albedo`` and ``rendering``: (3, H, W) float32 each, in the order in which
        the network takes them as channels.

    Raises:
        InstaFaceError: an unknown convention, or one that the face model cannot serve.
    """
    if convention not in CONVENTIONS:
        raise InstaFaceError(f"map convention {convention!r} is unknown; use one of {', '.join(CONVENTIONS)}")
    if size is not None:
        camera = camera.crop(0, 0, camera.width, camera.height, size)
    return CONVENTIONS[convention](model, parameters, camera)


def _instaface(model: MorphableModel, parameters: FaceParameters, camera: Camera) -> dict[str, Tensor]:
    maps = render_maps(model, parameters, camera).for_network()
    return {name: torch.from_numpy(values) for name, values in maps.items()}


def recentred(flame: FLAME, edited: FaceParameters, source: FaceParameters) -> FaceParameters:
    """An edited face shifted as DiffusionRig does, so that it stays where FFHQ's alignment put the source.

    The point at a tenth of the way from the eyes to the mouth comes to lie, in space, where it lies in ``source``.

    Args:
        flame: the face model, with landmarks.
        edited: batch of B.
        source: batch of B or 1.
    """
    return edited.replace(translation=edited.translation + _ffhq_center(flame, source) - _ffhq_center(flame, edited))


def _ffhq_center(flame: FLAME, parameters: FaceParameters) -> Tensor:
    """(B, 3) camera space, centimetres, of the 68 landmarks: eyes 36-47, corners of the mouth 48 and 54."""
    points = flame.landmarks_as_seen(flame.vertices(parameters), rotation_from_angles(parameters.head))
    eyes = (points[:, 36:42].mean(1) + points[:, 42:48].mean(1)) / 2
    mouth = (points[:, 48] + points[:, 54]) / 2
    return eyes + 0.1 * (mouth - eyes)


def _diffusionrig(model: MorphableModel, parameters: FaceParameters, camera: Camera) -> dict[str, Tensor]:
    """Rendering first."""
    maps = _caphuman(model, parameters, camera)
    return {name: maps[name] for name in ("rendering", "normals", "albedo")}


def _caphuman(model: MorphableModel, parameters: FaceParameters, camera: Camera) -> dict[str, Tensor]:
    """Normals raw, albedo in FLAME's texture space (DECA's codes put into it), albedo times unclamped shading."""
    from instaface.face.deca import SH_CONSTANTS, display_light
    from instaface.face.flame import FLAME

    if not isinstance(model, FLAME):
        raise InstaFaceError(
            f"maps as DiffusionRig's and CapHuman's need FLAME, not {model.name}: use --face-model flame"
        )
    textured = model if model.texture_space == "flame" else FLAME.load(texture="flame")
    normals, uv, covered = _deca_raster(model, parameters, camera)
    grid = uv * torch.tensor([2.0, -2.0]) + torch.tensor([-1.0, 1.0])
    texture = textured.texture(parameters.albedo)
    albedo = torch.nn.functional.grid_sample(texture, grid[None], align_corners=False)[0].movedim(0, -1)
    light = display_light(parameters.light) * torch.tensor(SH_CONSTANTS)[:, None]
    rendering = albedo * shade(normals[None], light)[0]
    return {
        "normals": normals.movedim(-1, 0),
        "albedo": (albedo * covered).movedim(-1, 0),
        "rendering": (rendering * covered).movedim(-1, 0),
    }


def _arc2face(model: MorphableModel, parameters: FaceParameters, camera: Camera) -> dict[str, Tensor]:
    """Normals in whole 255ths."""
    normals, _, covered = _deca_raster(model, parameters, camera)
    values = ((normals / 2 + 0.5).clamp(0, 1) * 255).floor()
    return {"normals": (torch.where(covered, values, float(ARC2FACE_BACKGROUND)) / 255).movedim(-1, 0)}


def _deca_raster(model: MorphableModel, parameters: FaceParameters, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
    """(H, W, 3) interpolated normals, (H, W, 2) texture coordinates, (H, W, 1) bool: what DECA's rasteriser gives."""
    mesh = model.mesh(parameters)
    points = np.asarray(camera.project(mesh.vertices[0]))
    faces, uv_faces = (np.asarray(f).astype(np.int32) for f in (mesh.faces, mesh.uv_faces))
    raster = rasterise(points, faces, camera.height, camera.width, cull="none")
    normals = interpolate(raster, faces, np.asarray(mesh.normals()[0]))
    uv = interpolate(raster, uv_faces, np.asarray(mesh.uv))
    return torch.from_numpy(normals), torch.from_numpy(uv), torch.from_numpy(raster.covered)[..., None]


CONVENTIONS: dict[str, Callable[[MorphableModel, FaceParameters, Camera], dict[str, Tensor]]] = {
    "instaface": _instaface,
    "diffusionrig": _diffusionrig,
    "caphuman": _caphuman,
    "arc2face": _arc2face,
}
