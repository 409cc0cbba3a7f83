"""From a tracked photo to the texture of its face: colours, normals, and how far each texel is to be trusted."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from instaface.face import OpenHead
from instaface.face.colour import linear_from_pixels
from instaface.render import Raster, interpolate, pick, rasterise, visible
from instaface.track import TrackedFace

SIZE = 256
GRAZING = (0.15, 0.5)  # cosine to the viewing ray: below the first a texel is not trusted, above the second fully
STRANDS = 7  # pixels around hair and background that are not trusted
DARK, BRIGHT = 0.002, 0.95  # linear; photos clip outside

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """Where the skin lies in the texture.

    Attributes:
        raster: triangles of all parts over the texels.
        skin: (S, S) bool.
        plain: (S, S) bool, face without brows, lids, lips: what light is fitted to.
        learned: (S, S) bool, skin that photos show bare and lit: face and ears.
        darkness: (S, S) float32, how far (in logarithm) skin there may be from the usual in brightness.
        hue: (S, S) float32, and in hue: most on lips, lids and brows, some where beards grow.
    """

    raster: Raster
    skin: NDArray[np.bool_]
    plain: NDArray[np.bool_]
    learned: NDArray[np.bool_]
    darkness: Floats
    hue: Floats


@dataclass(frozen=True)
class Unwrapped:
    """A photo in the texture's layout.

    Attributes:
        colour: (S, S, 3) float32 linear RGB.
        normals: (S, S, 3) float32 unit, camera space.
        weight: (S, S) float32 0..1: 0 where the texel is hidden, covered or outside of the photo.
    """

    colour: Floats
    normals: Floats
    weight: Floats


@functools.cache
def layout(model: OpenHead) -> Layout:
    """Of the model's texture at ``SIZE``."""
    uv = model.uv.numpy()
    plane = np.stack([uv[:, 0] * SIZE, (1 - uv[:, 1]) * SIZE, np.ones(len(uv))], -1)
    raster = rasterise(plane, model.uv_faces.numpy(), SIZE, SIZE, cull="none")
    vertex = pick(raster, model.faces.numpy(), np.arange(len(model.head_weight)), -1)

    def region(*names: str) -> NDArray[np.bool_]:
        member = np.zeros(len(model.head_weight) + 1, bool)
        for name in names:
            member[model.regions[name].numpy()] = True
        return member[vertex]

    part = np.append(model.part_labels.numpy(), -1)[raster.face_index]
    skin = part == model.part_names.index("skin")
    soft = skin & region("lips", "eyelids", "brows")
    beard = skin & region("chin", "jaw", "lips") | cv2.dilate(np.uint8(region("lips")), np.ones((25, 25))).astype(bool)
    return Layout(
        raster=raster,
        skin=skin,
        plain=skin & region("face") & ~soft,
        learned=skin & region("face", "ears"),
        darkness=np.where(soft, 3.0, np.where(beard, 1.5, 0.5)).astype(np.float32),
        hue=np.where(soft, 1.2, np.where(beard, 0.5, 0.3)).astype(np.float32),
    )


def unwrap(face: TrackedFace, model: OpenHead) -> Unwrapped:
    """The texture of a tracked face."""
    place = layout(model)
    camera, frame = face.frame_camera, face.frame
    faces = model.faces.numpy().astype(np.int32)
    with torch.no_grad():
        mesh = model.mesh(face.parameters.torch())
        points = camera.project(mesh.vertices[0]).numpy()
        attributes = torch.cat([mesh.vertices[0], mesh.normals()[0]], -1).numpy()
    # 1. Where each texel lies in space and in the frame.
    texels = interpolate(place.raster, faces, attributes)
    position, normals = texels[..., :3], texels[..., 3:]
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True).clip(1e-6)
    position[~place.skin] = (0, 0, -1)
    pixels = camera.project(torch.from_numpy(position)).numpy()
    # 2. Colours; the frame is smoothed a little, since texels are about as large as pixels.
    linear = cv2.GaussianBlur(linear_from_pixels(face.frame_pixels), (0, 0), 0.6)
    x, y = pixels[..., 0] - 0.5, pixels[..., 1] - 0.5
    colour = cv2.remap(linear, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    skin = cv2.erode(face.matte.person - face.matte.hair, np.ones((STRANDS, STRANDS)))
    bare = cv2.remap(skin, x, y, cv2.INTER_LINEAR, borderValue=0)
    # 3. Trust.
    depth = rasterise(points, faces, frame.height, frame.width).depth
    seen = visible(pixels, depth) & place.skin
    cosine = -(normals * position).sum(-1) / np.linalg.norm(position, axis=-1)
    facing = np.clip((cosine - GRAZING[0]) / (GRAZING[1] - GRAZING[0]), 0, 1)
    exposed = (colour.max(-1) < BRIGHT) & (colour.max(-1) > DARK)
    weight = seen * facing * np.clip(2 * bare - 1, 0, 1) * exposed
    return Unwrapped(colour, normals, weight.astype(np.float32))
