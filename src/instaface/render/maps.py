"""Maps of a 3D face as a camera sees it: what guides the network, and what the geometric edit is made of."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numba import njit
from numpy.typing import NDArray

from instaface.face import Camera, FaceParameters, MorphableModel
from instaface.face.arrays import Array
from instaface.face.colour import srgb_from_linear
from instaface.render.rasterise import Raster, draw, in_bands, look_up, pick

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

    def for_network(self) -> dict[str, NDArray[np.float32]]:
        """Each of ``NETWORK_MAPS`` as :func:`encode` codes it, (3, H, W) float32."""
        maps = {name: np.ascontiguousarray(getattr(self, name).transpose(2, 0, 1)) for name in NETWORK_MAPS}
        return {name: encode(name, values, self.mask[None]) for name, values in maps.items()}


def encode(name: str, values: Array, mask: Array) -> Array:
    """Code a map as the autoencoder takes photos: -1..1, 0 on the background.

    ``normals`` are left as they are. ``albedo`` and ``rendering`` are sRGB-encoded like a photo and scaled to -1..1.
    The mask blends each into the background, which makes silhouettes anti-aliased.

    Args:
        name: name of the map.
        values: (..., 3, H, W) as in :class:`Maps`; numpy or torch.
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
    # 1. Pose the mesh and project it.
    mesh = model.mesh(parameters)
    points, faces = camera.project(np.asarray(mesh.vertices[0])), _corners(mesh.faces)
    # 2. Find what each pixel sees.
    height, width = camera.height, camera.width
    raster, alpha = draw(points, faces, height, width)
    # 3. What it looks like there.
    vertex = pick(raster, faces, np.arange(len(points)), -1)
    corners = faces, np.asarray(mesh.normals()[0]), _corners(mesh.uv_faces), np.asarray(mesh.uv)
    texture = albedo_picture(model, parameters)
    normals, albedo, shading = (np.zeros((height, width, 3), np.float32) for _ in range(3))
    given = raster.face_index, raster.barycentric, *corners, texture, np.asarray(parameters.light[0])
    in_bands(_look_rows, height, None, *given, normals, albedo, shading)
    return Maps(
        normals=normals,
        albedo=albedo,
        shading=shading,
        mask=alpha * raster.covered,
        labels=np.append(vertex_labels(model), np.int32(0))[vertex],
        label_names=tuple(model.regions),
        vertex=vertex,
        depth=raster.depth,
        raster=raster,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _look_rows(  # type: ignore[no-untyped-def]
    first,
    last,
    face_index,
    barycentric,
    faces,
    vertex_normals,
    uv_faces,
    uv,
    texture,
    light,
    normals,
    albedo,
    shading,
):
    """What a surface looks like at each pixel that sees something; the others stay as they are.

    Args:
        face_index, barycentric: of the raster.
        faces: (F, 3) int32 into ``vertex_normals`` (V, 3).
        uv_faces: (F, 3) int32 into ``uv`` (T, 2), see :class:`instaface.face.Mesh`.
        texture: (S, S, 3) linear RGB, row 0 at v = 1.
        light: (9, 3) coefficients, see :mod:`instaface.face.light`.
        normals, albedo, shading: (H, W, 3) results.
    """
    size = len(texture)
    for j in range(first, last):
        for i in range(face_index.shape[1]):
            f = face_index[j, i]
            if f < 0:
                continue
            u = v = x = y = z = np.float32(0)
            for k in range(3):
                weight, corner, texel = barycentric[j, i, k], faces[f, k], uv_faces[f, k]
                u, v = u + weight * uv[texel, 0], v + weight * uv[texel, 1]
                x, y = x + weight * vertex_normals[corner, 0], y + weight * vertex_normals[corner, 1]
                z += weight * vertex_normals[corner, 2]
            length = max(np.sqrt(x * x + y * y + z * z), np.float32(1e-12))
            x, y, z = x / length, y / length, z / length
            normals[j, i, 0], normals[j, i, 1], normals[j, i, 2] = x, y, z
            look_up(texture, u * size, (1 - v) * size, albedo[j, i])
            for c in range(3):
                lit = light[0, c] + x * light[1, c] + y * light[2, c] + z * light[3, c]
                lit += x * y * light[4, c] + x * z * light[5, c] + y * z * light[6, c]
                lit += (x * x - y * y) * light[7, c] + (np.float32(3) * z * z - np.float32(1)) * light[8, c]
                shading[j, i, c] = max(lit, np.float32(0))


_albedos: WeakKeyDictionary[MorphableModel, tuple[bytes, NDArray[np.float32]]] = WeakKeyDictionary()


def albedo_picture(model: MorphableModel, parameters: FaceParameters) -> NDArray[np.float32]:
    """(S, S, 3) albedo texture of one face, linear RGB 0..1, row 0 at v = 1; not to be changed.

    The last one of each model is kept, since edits of a face leave it as it is.
    """
    coefficients = np.asarray(parameters.albedo).tobytes()
    known = _albedos.get(model)
    if known is None or known[0] != coefficients:
        picture = np.ascontiguousarray(np.moveaxis(np.asarray(model.albedo(parameters.albedo)[0]), 0, -1))
        known = _albedos[model] = coefficients, picture
    return known[1]


@functools.lru_cache(maxsize=4)
def vertex_labels(model: MorphableModel) -> NDArray[np.int32]:
    """(V,) int32 label of each vertex: 1 + index of the smallest region that holds it, 0 where none does."""
    labels = np.zeros(len(model.head_weight), np.int32)
    for index, vertices in sorted(enumerate(model.regions.values()), key=lambda item: -len(item[1])):
        labels[np.asarray(vertices)] = index + 1
    return labels


def region_mask(model: MorphableModel, maps: Maps, *regions: str) -> NDArray[np.bool_]:
    """(H, W) True where one of the named regions of the model is seen; regions may overlap."""
    member = np.zeros(len(model.head_weight) + 1, bool)  # the last place is that of the background, vertex -1
    for region in regions:
        member[np.asarray(model.regions[region])] = True
    return member[maps.vertex]


def seen_region(model: MorphableModel, parameters: FaceParameters, camera: Camera, *regions: str) -> NDArray[np.bool_]:
    """(H, W) True where a camera sees one of the named regions of a face; names that the model lacks are left out."""
    known = [name for name in regions if name in model.regions]
    return region_mask(model, render_maps(model, parameters, camera), *known)


def _corners(faces: Array) -> NDArray[np.int32]:
    return np.asarray(faces).astype(np.int32)
