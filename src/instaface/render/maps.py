"""Maps of a 3D face as a camera sees it: what guides the network, and what the geometric edit is made of."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from instaface.face import Camera, FaceParameters, MorphableModel
from instaface.face.colour import srgb_from_linear
from instaface.face.light import shade
from instaface.render.rasterise import Raster, draw, interpolate, pick

NETWORK_MAPS = ("normals", "albedo", "rendering")


@dataclass(frozen=True)
class Maps:
    """What each pixel of a picture sees of a face. Colours are not multiplied with ``mask``.

    Attributes:
        normals: (H, W, 3) float32 unit vectors in camera space (x right, y up, z to the viewer), 0 on the background.
        albedo: (H, W, 3) float32 linear RGB 0..1, 0 on the background.
        shading: (H, W, 3) float32 linear RGB, at least 0; 0 on the background.
        mask: (H, W) float32 0..1, share of the pixel that the face covers.
        labels: (H, W) int32: 0 on the background and outside of all regions, else 1 + index into ``label_names``.
            Where regions overlap, the smallest counts: ``iris_left`` before ``eyes``, ``lips`` before ``skin``.
        label_names: regions of the face model.
        vertex: (H, W) int32, the vertex nearest to what is seen, -1 on the background.
        depth: (H, W) float32 centimetres along the optical axis, infinite on the background.
        raster: the face and barycentric coordinates seen by each pixel with a positive mask.
    """

    normals: NDArray[np.float32]
    albedo: NDArray[np.float32]
    shading: NDArray[np.float32]
    mask: NDArray[np.float32]
    labels: NDArray[np.int32]
    label_names: tuple[str, ...]
    vertex: NDArray[np.int32]
    depth: NDArray[np.float32]
    raster: Raster

    @property
    def rendering(self) -> NDArray[np.float32]:
        """(H, W, 3) float32 Lambertian rendering, linear RGB 0..1, 0 on the background."""
        return np.minimum(self.albedo * self.shading, 1)

    def for_network(self) -> dict[str, Tensor]:
        """Each of ``NETWORK_MAPS`` as :func:`encode` codes it, (3, H, W)."""
        mask = torch.from_numpy(self.mask)[None]
        return {name: encode(name, _to_tensor(getattr(self, name)), mask) for name in NETWORK_MAPS}


def encode(name: str, values: Tensor, mask: Tensor) -> Tensor:
    """Code a map as the autoencoder takes photos: -1..1, 0 on the background.

    ``normals`` are left as they are. ``albedo`` and ``rendering`` are sRGB-encoded like a photo and scaled to -1..1.
    The mask blends each into the background, which makes silhouettes anti-aliased.

    Args:
        name: name of the map.
        values: (..., 3, H, W) as in :class:`Maps`.
        mask: (..., 1, H, W), 0..1.

    Returns:
        (..., 3, H, W), -1..1.
    """
    coded = values if name == "normals" else 2 * srgb_from_linear(values.clip(0, 1)) - 1
    return coded * mask


def render_maps(
    model: MorphableModel, parameters: FaceParameters, camera: Camera, size: tuple[int, int] | None = None
) -> Maps:
    """Render one face.

    Args:
        model: the face model.
        parameters: parameters of that model, batch of 1.
        camera: camera of the picture.
        size: (width, height) of the maps, by default those of the camera; at the same aspect ratio.
    """
    if len(parameters) != 1:
        raise ValueError(f"render_maps renders one face, not a batch of {len(parameters)}")
    if size is not None:
        camera = camera.crop(0, 0, camera.width, camera.height, size)
    with torch.no_grad():
        # 1. Pose the mesh and project it.
        mesh = model.mesh(parameters)
        points, faces = camera.project(mesh.vertices[0]).numpy(), _corners(mesh.faces)
        # 2. Find what each pixel sees.
        height, width = camera.height, camera.width
        raster, alpha = draw(points, faces, height, width)
        # 3. Attributes of the pixels that see something, as lists.
        seen = np.flatnonzero(raster.covered)
        vertex = pick(raster, faces, np.arange(len(points)), -1)
        normals = torch.from_numpy(interpolate(raster, faces, mesh.normals()[0].numpy()).reshape(-1, 3)[seen])
        normals = torch.nn.functional.normalize(normals, dim=-1)
        uv = torch.from_numpy(interpolate(raster, _corners(mesh.uv_faces), mesh.uv.numpy()).reshape(-1, 2)[seen])
        albedo = sample_texture(model.albedo(parameters.albedo), uv[None])[0]
        shading = shade(normals[None], parameters.light)[0].clip(0)
    return Maps(
        normals=_spread(normals, seen, height, width),
        albedo=_spread(albedo, seen, height, width),
        shading=_spread(shading, seen, height, width),
        mask=alpha * raster.covered,
        labels=np.append(vertex_labels(model), np.int32(0))[vertex],
        label_names=tuple(model.regions),
        vertex=vertex,
        depth=raster.depth,
        raster=raster,
    )


def _spread(values: Tensor, seen: NDArray[np.int64], height: int, width: int) -> NDArray[np.float32]:
    """(H, W, C) with (N, C) values at the N pixels that see something, 0 elsewhere."""
    out = np.zeros((height * width, values.shape[-1]), np.float32)
    out[seen] = values.numpy()
    return out.reshape(height, width, -1)


def sample_texture(texture: Tensor, uv: Tensor) -> Tensor:
    """Bilinear samples of a texture.

    Args:
        texture: (B, C, S, S), row 0 at v = 1.
        uv: (B, ..., 2), 0..1, v upwards.

    Returns:
        (B, ..., C)
    """
    grid = (uv * uv.new_tensor([2, -2]) + uv.new_tensor([-1, 1])).flatten(1, -2)[:, None]
    samples = torch.nn.functional.grid_sample(texture, grid, padding_mode="border", align_corners=False)
    return samples[:, :, 0].mT.reshape(*uv.shape[:-1], -1)


@functools.lru_cache(maxsize=4)
def vertex_labels(model: MorphableModel) -> NDArray[np.int32]:
    """(V,) int32 label of each vertex: 1 + index of the smallest region that holds it, 0 where none does."""
    labels = np.zeros(len(model.head_weight), np.int32)
    for index, vertices in sorted(enumerate(model.regions.values()), key=lambda item: -len(item[1])):
        labels[vertices.numpy()] = index + 1
    return labels


def region_mask(model: MorphableModel, maps: Maps, *regions: str) -> NDArray[np.bool_]:
    """(H, W) True where one of the named regions of the model is seen; regions may overlap."""
    member = np.zeros(len(model.head_weight) + 1, bool)  # the last place is that of the background, vertex -1
    for region in regions:
        member[model.regions[region].numpy()] = True
    return member[maps.vertex]


def _corners(faces: Tensor) -> NDArray[np.int32]:
    return faces.numpy().astype(np.int32)


def _to_tensor(image: NDArray[Any]) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)
