"""The renderer in plain torch operations: batched, on any device.

The second of two paths. :mod:`instaface.render.rasterise` is made for one face on a CPU; this one is made for
batches on a GPU, where they stay. Both snap vertices to the same fraction of a pixel, test edges in integers with the
same rule and accumulate the same areas, so that they agree.

Each triangle of each face lists the pixels of its bounding box; the edge functions of all the listed pairs are
evaluated at once; and the nearest triangle of each pixel is found by a scattered minimum over 64-bit keys that hold
depth and triangle. A head of 17,000 triangles lists some 300,000 pairs at 512 x 512.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from instaface.face import Camera, FaceParameters, MorphableModel
from instaface.face.light import shade
from instaface.render.maps import encode
from instaface.render.rasterise import LIMIT, MIN_DEPTH, SUBPIXELS

_EMPTY = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class TorchRaster:
    """What pixels' centres see, as in :class:`instaface.render.Raster`, for a batch.

    Attributes:
        face_index: (B, H, W) int64, -1 where nothing is seen.
        barycentric: (B, H, W, 3) float32, 0 where nothing is seen.
        depth: (B, H, W) float32, infinite where nothing is seen.
    """

    face_index: Tensor
    barycentric: Tensor
    depth: Tensor


@dataclass(frozen=True)
class TorchMaps:
    """Maps of a batch of faces, as in :class:`instaface.render.Maps` but channels first.

    Attributes:
        normals: (B, 3, H, W) float32 unit vectors in camera space, 0 on the background.
        albedo: (B, 3, H, W) float32 linear RGB.
        rendering: (B, 3, H, W) float32 linear RGB.
        mask: (B, 1, H, W) float32 0..1.
        raster: what is seen.
    """

    normals: Tensor
    albedo: Tensor
    rendering: Tensor
    mask: Tensor
    raster: TorchRaster

    def for_network(self) -> dict[str, Tensor]:
        """Each of the network's maps as :func:`instaface.render.encode` codes it, (B, 3, H, W)."""
        return {name: encode(name, getattr(self, name), self.mask) for name in ("normals", "albedo", "rendering")}


def rasterise(vertices: Tensor, faces: Tensor, height: int, width: int) -> TorchRaster:
    """Find the nearest front-facing triangle at each pixel's centre.

    Args:
        vertices: (B, V, 3) float32: x, y in pixels and depth, positive in front of the camera.
        faces: (F, 3) int64, anticlockwise seen from outside.
        height: rows of the result.
        width: columns of the result.
    """
    xy, inverse_depth = _snap(vertices)
    batch, face = _front(xy, inverse_depth, faces)
    corners = faces[face]
    points = xy[batch[:, None], corners]  # (N, 3, 2)
    # 1. Pairs of a triangle and a pixel whose centre lies in the triangle's box.
    half = SUBPIXELS // 2
    low = _floor_divide(points.amin(1) + half - 1).clamp(min=0)
    high = _floor_divide(points.amax(1) - half) + 1
    high = torch.minimum(high, high.new_tensor([width, height]))
    triangle, column, row = _boxes(low, high)
    # 2. Of these, pairs whose centre lies inside of the triangle.
    centre = torch.stack([column, row], -1) * SUBPIXELS + half
    edges = _edges(points[triangle], centre)  # (P, 3), positive inside
    start, end = (
        points[:, [2, 0, 1]],
        points[:, [1, 2, 0]],
    )  # corners run anticlockwise as seen, the rule's edges clockwise
    step = end - start
    owned = (step[..., 1] < 0) | ((step[..., 1] == 0) & (step[..., 0] > 0))  # top and left edges
    inside = (edges >= (~owned).long()[triangle]).all(-1)
    triangle, column, row, edges = triangle[inside], column[inside], row[inside], edges[inside]
    # 3. The nearest triangle of each pixel.
    weights = edges.double() * inverse_depth[batch[:, None], corners][triangle]
    total = weights.sum(-1)
    depth = (edges.sum(-1).double() / total).float()
    pixel = (batch[triangle] * height + row) * width + column
    key = depth.view(torch.int32).long() << 32 | face[triangle]  # positive floats sort as their bits
    nearest = key.new_full((len(vertices) * height * width,), _EMPTY).scatter_reduce(0, pixel, key, "amin")
    # 4. Its weights. One pair alone has the nearest key of a pixel.
    won = key == nearest[pixel]
    shape = (len(vertices), height, width)
    barycentric = weights.new_zeros(len(nearest), 3, dtype=torch.float32)
    barycentric[pixel[won]] = (weights[won] / total[won, None]).float()
    seen_depth = torch.full_like(barycentric[:, 0], torch.inf)
    seen_depth[pixel[won]] = depth[won]
    face_index = torch.where(nearest == _EMPTY, -1, nearest & 0xFFFFFFFF)
    return TorchRaster(face_index.view(shape), barycentric.view(*shape, 3), seen_depth.view(shape))


def interpolate(raster: TorchRaster, faces: Tensor, attributes: Tensor) -> Tensor:
    """(F, 3) int64 indices into (B, V, C) or (V, C) attributes to (B, H, W, C), 0 where nothing is seen."""
    corners = faces[raster.face_index.clamp(min=0)]  # (B, H, W, 3)
    if attributes.ndim == 2:
        values = attributes[corners]
    else:
        batch = torch.arange(len(attributes), device=faces.device)
        values = attributes[batch.view(-1, 1, 1, 1), corners]
    return (values * raster.barycentric[..., None]).sum(-2)


def coverage(vertices: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """Share of each pixel that front-facing triangles cover, (B, H, W) float32.

    The sum of signed areas to the right of edges, as in :func:`instaface.render.coverage`, over the silhouette's
    edges alone: those that belong to one front-facing triangle.
    """
    xy, inverse_depth = _snap(vertices)
    batch, face = _front(xy, inverse_depth, faces)
    batch, start, end = _silhouette(batch, faces[face], xy.shape[1])
    a, b = xy[batch, start], xy[batch, end]
    steep = a[:, 1] != b[:, 1]  # level edges cover nothing
    batch, a, b = batch[steep], a[steep], b[steep]
    downwards = a[:, 1] < b[:, 1]
    sign = torch.where(downwards, 1.0, -1.0).double()
    top, bottom = torch.where(downwards[:, None], a, b), torch.where(downwards[:, None], b, a)
    # 1. Parts of edges within a row of pixels.
    first = _floor_divide(top[:, 1]).clamp(min=0)
    last = (-_floor_divide(-bottom[:, 1])).clamp(max=height)
    edge, row = _ranges(first, last)
    x, y = (top.double() / SUBPIXELS)[edge].unbind(-1)
    slope = ((bottom[:, 0] - top[:, 0]).double() / (bottom[:, 1] - top[:, 1]))[edge]
    y0 = torch.maximum(y, row.double())
    y1 = torch.minimum((bottom[:, 1].double() / SUBPIXELS)[edge], row.double() + 1)
    ends = torch.stack([x + (y0 - y) * slope, x + (y1 - y) * slope], -1)
    x0, x1 = ends.amin(-1), ends.amax(-1)
    lifted = sign[edge] * (y1 - y0)
    # 2. Pixels that these cross, and the share of each that lies to their right, as its change from pixel to pixel.
    begin, stop = x0.floor().long().clamp(min=0), (x1.floor().long() + 1).clamp(0, width)
    part, column = _ranges(begin, stop)
    before = torch.where(column > begin[part], _share(column - 1, x0[part], x1[part]), 0)
    line = (batch[edge] * height + row) * (width + 1)
    change = lifted.new_zeros(len(vertices) * height * (width + 1))
    change.index_add_(0, line[part] + column, lifted[part] * (_share(column, x0[part], x1[part]) - before))
    covered = torch.where(stop > begin, _share(stop - 1, x0, x1), 0)
    change.index_add_(0, line + stop, lifted * (1 - covered))
    layers = change.view(len(vertices), height, width + 1).cumsum(-1)[..., :width]
    return torch.where(layers > 1e-6, layers.clamp(0, 1), 0).float()


def extend(raster: TorchRaster, alpha: Tensor) -> TorchRaster:
    """Let pixels that are covered in part, but not at their centre, see what their nearest neighbour sees."""
    fields = [raster.face_index, raster.barycentric, raster.depth]
    height, width = alpha.shape[1:]
    seen = torch.nn.functional.pad(raster.face_index, (1, 1, 1, 1), value=-1) >= 0
    open_pixels = (raster.face_index < 0) & (alpha > 0)
    for down, right in ((0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)):
        take = open_pixels & seen[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]
        batch, row, column = take.nonzero(as_tuple=True)
        originals = (raster.face_index, raster.barycentric, raster.depth)
        for k, original in enumerate(originals):
            fields[k] = fields[k].index_put((batch, row, column), original[batch, row + down, column + right])
        open_pixels = open_pixels & ~take
    return TorchRaster(*fields)


def render_batch(model: MorphableModel, parameters: FaceParameters, camera: Camera | Sequence[Camera]) -> TorchMaps:
    """Render a batch of faces where they lie, without gradients.

    Args:
        model: the face model, on the parameters' device (:meth:`instaface.face.MorphableModel.to`).
        parameters: batch of B.
        camera: one for all, or B of them with the same picture size.
    """
    cameras = [camera] * len(parameters) if isinstance(camera, Camera) else list(camera)
    height, width = cameras[0].height, cameras[0].width
    with torch.no_grad():
        mesh = model.mesh(parameters)
        faces = mesh.faces
        points = torch.stack([view.project(shape) for view, shape in zip(cameras, mesh.vertices, strict=True)])
        alpha = coverage(points, faces, height, width)
        raster = extend(rasterise(points, faces, height, width), alpha)
        seen = (raster.face_index >= 0)[..., None]
        normals = torch.nn.functional.normalize(interpolate(raster, faces, mesh.normals()), dim=-1)
        uv = interpolate(raster, mesh.uv_faces, mesh.uv)
        albedo = sample_texture(model.albedo(parameters.albedo), uv) * seen
        rendering = (albedo * shade(normals, parameters.light).clip(0)).clip(max=1)
    return TorchMaps(
        normals=normals.permute(0, 3, 1, 2),
        albedo=albedo.permute(0, 3, 1, 2),
        rendering=rendering.permute(0, 3, 1, 2),
        mask=(alpha * seen[..., 0])[:, None],
        raster=raster,
    )


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


def _snap(vertices: Tensor) -> tuple[Tensor, Tensor]:
    """(B, V, 2) int64 sub-pixels and (B, V) float64 inverse depth, 0 for vertices that cannot be drawn."""
    depth = vertices[..., 2]
    usable = (vertices[..., :2].abs() < LIMIT).all(-1) & (depth > MIN_DEPTH) & depth.isfinite()
    xy = torch.where(usable[..., None], vertices[..., :2], 0)
    return (xy * SUBPIXELS).round().long(), torch.where(usable, 1 / depth.double(), 0)


def _front(xy: Tensor, inverse_depth: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Batch and index of the front-facing triangles."""
    a, b, c = (xy[:, faces[:, k]] for k in range(3))
    area = _cross(b - a, c - a)
    usable = (inverse_depth[:, faces] > 0).all(-1)
    batch, face = (usable & (area < 0)).nonzero(as_tuple=True)
    return batch, face


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _edges(points: Tensor, centre: Tensor) -> Tensor:
    """(P, 3, 2) corners and (P, 2) points to (P, 3) edge functions: twice the areas opposite to the corners."""
    to = points - centre[:, None]
    return torch.stack([_cross(to[:, 2], to[:, 1]), _cross(to[:, 0], to[:, 2]), _cross(to[:, 1], to[:, 0])], -1)


def _silhouette(batch: Tensor, corners: Tensor, n_vertices: int) -> tuple[Tensor, Tensor, Tensor]:
    """Batch, start and end of the edges that belong to one of the given triangles."""
    start, end = corners.T.flatten(), corners.roll(-1, 1).T.flatten()
    batch = batch.repeat(3)
    # An edge's twin runs the other way: pairs of keys differ in the sign alone.
    key = (batch * n_vertices + torch.minimum(start, end)) * n_vertices + torch.maximum(start, end)
    _, inverse, counts = key.unique(return_inverse=True, return_counts=True)
    single = counts[inverse] == 1
    return batch[single], start[single], end[single]


def _ranges(first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) ranges first..last - 1 to all (range, value) pairs."""
    counts = (last - first).clamp(min=0)
    index = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    offset = torch.arange(len(index), device=counts.device) - (counts.cumsum(0) - counts)[index]
    return index, first[index] + offset


def _boxes(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, 2) corners of boxes to all (box, x, y) triples."""
    size = (high - low).clamp(min=0)
    box, offset = _ranges(torch.zeros_like(size[:, 0]), size[:, 0] * size[:, 1])
    width = size[box, 0]
    return box, low[box, 0] + offset % width, low[box, 1] + offset // width


def _floor_divide(values: Tensor) -> Tensor:
    return torch.div(values, SUBPIXELS, rounding_mode="floor")


def _share(column: Tensor, x0: Tensor, x1: Tensor) -> Tensor:
    """Mean over an edge's part, from x0 to x1, of the width of a pixel that lies to its right."""
    near, far = column + 1 - x1, column + 1 - x0
    wide = (x1 - x0) > 1e-6
    mean = (_ramp(far) - _ramp(near)) / torch.where(wide, x1 - x0, 1)
    return torch.where(wide, mean, far.clamp(0, 1))


def _ramp(u: Tensor) -> Tensor:
    """Integral of clamp(u, 0, 1)."""
    u = u.clamp(min=0)
    return torch.where(u < 1, 0.5 * u * u, u - 0.5)
