"""Z-buffered rasteriser for triangle meshes on the CPU.

Vertices are snapped to 1/4096 pixel and edges are tested in integers with the top-left rule, so that a mesh is
watertight: every pixel centre inside of two triangles that share an edge belongs to exactly one of them (Pineda
1988, "A parallel algorithm for polygon rasterization"; the rule is Direct3D's). A first pass keeps the nearest
triangle of each pixel, a second one computes perspective-correct barycentric coordinates for what is seen.

The kernels release the interpreter's lock and work on bands of rows in plain threads; this is safe in forked
workers and under concurrent calls, which numba's own thread pools are not.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numba
import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

Cull = Literal["back", "front", "none"]

SUBPIXELS = 4096  # vertices are snapped to this fraction of a pixel
LIMIT = 65536.0  # pixels from the origin; triangles that reach farther out are dropped
MIN_DEPTH = 1e-6  # triangles that reach behind this depth are dropped


@dataclass(frozen=True)
class Raster:
    """What a pixel's centre sees of a mesh.

    Attributes:
        face_index: (H, W) int32, -1 where nothing is seen.
        barycentric: (H, W, 3) float32 weights of the face's corners, perspective-correct, 0 where nothing is seen.
        depth: (H, W) float32 along the optical axis, infinite where nothing is seen.
    """

    face_index: NDArray[np.int32]
    barycentric: NDArray[np.float32]
    depth: NDArray[np.float32]

    @property
    def covered(self) -> NDArray[np.bool_]:
        """(H, W) True where something is seen."""
        return self.face_index >= 0


def rasterise(
    vertices: ArrayLike, faces: ArrayLike, height: int, width: int, cull: Cull = "back", threads: int | None = None
) -> Raster:
    """Find the nearest triangle at each pixel's centre.

    Args:
        vertices: (V, 3) float32: x, y in pixels (y down, (0, 0) the outer corner of the first pixel) and depth,
            positive in front of the camera; as :meth:`instaface.face.Camera.project` gives them. Triangles with a
            vertex that is not finite, or not in front of the camera, are left out. With all depths 1 this is
            plain 2D rasterisation, as for textures.
        faces: (F, 3) vertex indices, anticlockwise seen from outside.
        height: rows of the result.
        width: columns of the result.
        cull: which triangles to leave out: those seen from behind ("back"), from the front, or none.
        threads: number of threads, by default :func:`usual_threads`.

    Returns:
        The raster. Where triangles lie at equal depth the one with the lowest index is seen.
    """
    return _rasterised(_prepare(vertices, faces, cull), height, width, threads)


def _rasterised(triangles: tuple[Any, ...], height: int, width: int, threads: int | None) -> Raster:
    face_index = np.empty((height, width), np.int32)
    barycentric = np.empty((height, width, 3), np.float32)
    depth = np.empty((height, width), np.float32)
    in_bands(_rasterise_rows, height, threads, *triangles, face_index, barycentric, depth)
    return Raster(face_index, barycentric, depth)


def interpolate(
    raster: Raster, faces: ArrayLike, attributes: ArrayLike, threads: int | None = None
) -> NDArray[np.float32]:
    """Interpolate attributes of vertices over the pixels.

    Args:
        raster: result of :func:`rasterise`.
        faces: (F, 3) indices into ``attributes``, in the order of the faces that were rasterised.
        attributes: (V, C) float32.
        threads: number of threads, by default :func:`usual_threads`.

    Returns:
        (H, W, C) float32, 0 where nothing is seen.
    """
    values = np.ascontiguousarray(attributes, np.float32)
    height, width = raster.face_index.shape
    out = np.empty((height, width, values.shape[1]), np.float32)
    in_bands(_interpolate_rows, height, threads, raster.face_index, raster.barycentric, _indices(faces), values, out)
    return out


def pick(
    raster: Raster, faces: ArrayLike, values: ArrayLike, background: int = 0, threads: int | None = None
) -> NDArray[np.int32]:
    """Integer attributes of vertices (such as labels) over the pixels: that of the face's nearest corner.

    Args:
        raster: result of :func:`rasterise`.
        faces: (F, 3) indices into ``values``, in the order of the faces that were rasterised.
        values: (V,) int32.
        background: what pixels get that see nothing.
        threads: number of threads, by default :func:`usual_threads`.

    Returns:
        (H, W) int32
    """
    out = np.empty(raster.face_index.shape, np.int32)
    labels = np.ascontiguousarray(values, np.int32)
    arguments = (raster.face_index, raster.barycentric, _indices(faces), labels, background, out)
    in_bands(_pick_rows, len(out), threads, *arguments)
    return out


def coverage(
    vertices: ArrayLike, faces: ArrayLike, height: int, width: int, cull: Cull = "back", threads: int | None = None
) -> NDArray[np.float32]:
    """Share of each pixel's area that a mesh covers: its anti-aliased silhouette.

    The signed areas to the right of all edges are accumulated, in closed form; edges between two triangles cancel and
    are left out, what remains is the number of layers over the pixel, of which up to one counts. This is the exact
    area where one layer crosses the pixel.

    Args:
        vertices, faces, height, width, cull, threads: as for :func:`rasterise`.

    Returns:
        (H, W) float32, 0..1.
    """
    if cull == "none":
        sides = [coverage(vertices, faces, height, width, side, threads) for side in ("back", "front")]  # type: ignore[arg-type]
        return np.maximum(*sides)
    return _covered(_prepare(vertices, faces, cull), height, width, threads)


def _covered(triangles: tuple[Any, ...], height: int, width: int, threads: int | None) -> NDArray[np.float32]:
    x, y, _, _, _, corners = triangles
    out = np.empty((height, width), np.float32)
    in_bands(_coverage_rows, height, threads, x, y, _outline(corners, len(x)), out)
    return out


def draw(
    vertices: ArrayLike, faces: ArrayLike, height: int, width: int, threads: int | None = None
) -> tuple[Raster, NDArray[np.float32]]:
    """A mesh seen from its front, with a soft silhouette: :func:`rasterise`, extended over :func:`coverage`.

    Args:
        vertices, faces, height, width, threads: as for :func:`rasterise`.

    Returns:
        The raster, in which each pixel with a positive share sees something, and the (H, W) float32 shares 0..1.
    """
    triangles = _prepare(vertices, faces, "back")
    raster, alpha = _rasterised(triangles, height, width, threads), _covered(triangles, height, width, threads)
    return extend(raster, alpha), alpha


def extend(raster: Raster, alpha: NDArray[np.float32]) -> Raster:
    """Let pixels that a mesh covers in part, but not at their centre, see what their nearest neighbour sees.

    With that, values interpolated over the raster are un-premultiplied colours that go with ``alpha``.

    Args:
        raster: result of :func:`rasterise`.
        alpha: (H, W) float32 from :func:`coverage`.
    """
    extended = Raster(raster.face_index.copy(), raster.barycentric.copy(), raster.depth.copy())
    _extend(raster.face_index, alpha, extended.face_index, extended.barycentric, extended.depth)
    return extended


def visible(
    points: ArrayLike, depth: NDArray[np.float32], tolerance: float = 0.1, slope_pixels: float = 1.0
) -> NDArray[np.bool_]:
    """Whether points are seen by the camera that made a depth map.

    A point may lie behind the surface that is seen at its pixel by ``tolerance`` plus what the surface's depth
    changes over ``slope_pixels`` pixels: a fixed tolerance leaves moire where the surface is steep. The slope is taken
    on the side of the pixel where depth changes less, so that a silhouette does not count as a slope.

    Args:
        points: (..., 3) float32 pixels x, y and depth.
        depth: (H, W) float32, infinite where nothing is seen, from :class:`Raster`.
        tolerance: in the unit of depth.
        slope_pixels: pixels.

    Returns:
        (...) bool; False outside of the picture, True where the map sees nothing.
    """
    values = np.ascontiguousarray(points, np.float32)
    out = np.empty(values.shape[:-1], np.bool_)
    _visible(values.reshape(-1, 3), depth, tolerance, slope_pixels, out.reshape(-1))
    return out


def _indices(faces: ArrayLike) -> NDArray[np.int32]:
    return np.ascontiguousarray(faces, np.int32)


def _prepare(vertices: ArrayLike, faces: ArrayLike, cull: Cull) -> tuple[Any, ...]:
    """Snapped x and y (V), inverse depth (V), faces (F, 3), and of the triangles to be drawn: index and corners."""
    points, indices = np.ascontiguousarray(vertices, np.float32), _indices(faces)
    x, y = np.empty(len(points), np.int64), np.empty(len(points), np.int64)
    inverse_depth = np.empty(len(points), np.float64)
    _snap(points, x, y, inverse_depth)
    sign = {"back": 1, "front": -1, "none": 0}[cull]
    return (x, y, inverse_depth, indices, *_select(x, y, inverse_depth, indices, sign))


def in_bands(kernel: Callable[..., None], height: int, threads: int | None, *arguments: Any) -> None:
    """Call ``kernel(first_row, last_row, *arguments)`` for bands of rows, in threads.

    Args:
        kernel: compiled, and free of the interpreter's lock.
        height: number of rows.
        threads: number of threads, by default :func:`usual_threads`.
        arguments: of the kernel.
    """
    threads = threads or usual_threads()
    if threads <= 1 or height < 64:
        return kernel(0, height, *arguments)
    # More bands than threads, since the face rarely fills them evenly.
    rows = [height * k // (4 * threads) for k in range(4 * threads + 1)]
    pool = _pool(threads, os.getpid())
    list(pool.map(lambda first, last: kernel(first, last, *arguments), rows[:-1], rows[1:]))


def usual_threads() -> int:
    """As many as PyTorch uses where it is loaded, which may have been told to use fewer; else as ``OMP_NUM_THREADS``
    says, or one for each core."""
    if "torch" in sys.modules:
        return sys.modules["torch"].get_num_threads()
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(asked) if asked.isdecimal() and int(asked) else numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process: a forked one has none of its parent's."""
    return ThreadPoolExecutor(threads, thread_name_prefix="rows")


@njit(cache=True, nogil=True, error_model="numpy")
def look_up(picture, x, y, out):  # type: ignore[no-untyped-def]
    """(C,) values of a picture (H, W, C) at a place in pixels, linearly between their centres."""
    height, width, channels = picture.shape
    u, v = min(max(x - 0.5, 0.0), width - 1.0), min(max(y - 0.5, 0.0), height - 1.0)
    i, j = int(u), int(v)
    right, below = min(i + 1, width - 1), min(j + 1, height - 1)
    a, b = np.float32(u - i), np.float32(v - j)
    for c in range(channels):
        top = picture[j, i, c] + a * (picture[j, right, c] - picture[j, i, c])
        bottom = picture[below, i, c] + a * (picture[below, right, c] - picture[below, i, c])
        out[c] = top + b * (bottom - top)


@njit(cache=True, nogil=True, error_model="numpy")
def _snap(points, x, y, inverse_depth):  # type: ignore[no-untyped-def]
    """Vertices in integers; an inverse depth of 0 marks those that cannot be drawn."""
    for v in range(len(points)):
        px, py, pz = points[v]
        if abs(px) < LIMIT and abs(py) < LIMIT and pz > MIN_DEPTH and pz < np.inf:
            x[v], y[v] = round(px * SUBPIXELS), round(py * SUBPIXELS)
            inverse_depth[v] = 1.0 / pz
        else:
            x[v], y[v], inverse_depth[v] = 0, 0, 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _select(x, y, inverse_depth, faces, sign):  # type: ignore[no-untyped-def]
    """Triangles to be drawn: (N,) their indices, (N, 3) their corners, clockwise as seen."""
    index = np.empty(len(faces), np.int32)
    corners = np.empty((len(faces), 3), np.int32)
    n = 0
    for f in range(len(faces)):
        a, b, c = faces[f]
        if inverse_depth[a] == 0.0 or inverse_depth[b] == 0.0 or inverse_depth[c] == 0.0:
            continue
        area = (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a])
        if area == 0 or area * sign > 0:  # y is down: what is anticlockwise from outside has negative area here
            continue
        if area < 0:
            b, c = c, b
        index[n] = f
        corners[n, 0], corners[n, 1], corners[n, 2] = a, b, c
        n += 1
    return index[:n], corners[:n]


@njit(cache=True, nogil=True, error_model="numpy")
def _edge(x, y, a, b, px, py):  # type: ignore[no-untyped-def]
    """Edge function of (a, b) at a point: positive inside, with the top-left rule's bias; its steps in x and y."""
    dx, dy = x[b] - x[a], y[b] - y[a]
    value = dx * (py - y[a]) - dy * (px - x[a])
    if not (dy < 0 or (dy == 0 and dx > 0)):
        value -= 1  # neither a left nor a top edge: a point on it belongs to the neighbour
    return value, -dy * SUBPIXELS, dx * SUBPIXELS


@njit(cache=True, nogil=True, error_model="numpy")
def _rasterise_rows(first, last, x, y, inverse_depth, faces, index, corners, face_index, barycentric, depth):  # type: ignore[no-untyped-def]
    half = SUBPIXELS // 2
    width = face_index.shape[1]
    nearest = np.zeros((last - first, width), np.float64)  # inverse depth: linear in the picture, 0 at infinity
    face_index[first:last] = -1
    for t in range(len(index)):
        a, b, c = corners[t]
        # Pixels whose centres lie in the triangle's box.
        y0 = max(first, (min(y[a], y[b], y[c]) + half - 1) // SUBPIXELS)
        y1 = min(last, (max(y[a], y[b], y[c]) - half) // SUBPIXELS + 1)
        if y0 >= y1:
            continue
        x0 = max(0, (min(x[a], x[b], x[c]) + half - 1) // SUBPIXELS)
        x1 = min(width, (max(x[a], x[b], x[c]) - half) // SUBPIXELS + 1)
        if x0 >= x1:
            continue
        px, py = x0 * SUBPIXELS + half, y0 * SUBPIXELS + half
        row_a, step_ax, step_ay = _edge(x, y, b, c, px, py)
        row_b, step_bx, step_by = _edge(x, y, c, a, px, py)
        row_c, step_cx, step_cy = _edge(x, y, a, b, px, py)
        # Inverse depth as a plane over the picture; the rule's bias of one unit does not matter here.
        scale = 1.0 / ((x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]))
        za, zb, zc = inverse_depth[a] * scale, inverse_depth[b] * scale, inverse_depth[c] * scale
        z_row = row_a * za + row_b * zb + row_c * zc
        z_x = step_ax * za + step_bx * zb + step_cx * zc
        z_y = step_ay * za + step_by * zb + step_cy * zc
        for j in range(y0 - first, y1 - first):
            ea, eb, ec, z = row_a, row_b, row_c, z_row
            for i in range(x0, x1):
                if (ea | eb | ec) >= 0 and z > nearest[j, i]:
                    nearest[j, i] = z
                    face_index[first + j, i] = index[t]
                ea, eb, ec, z = ea + step_ax, eb + step_bx, ec + step_cx, z + z_x
            row_a, row_b, row_c, z_row = row_a + step_ay, row_b + step_by, row_c + step_cy, z_row + z_y
    for j in range(first, last):
        for i in range(width):
            f = face_index[j, i]
            if f < 0:
                barycentric[j, i] = 0.0
                depth[j, i] = np.inf
                continue
            a, b, c = faces[f]
            px, py = i * SUBPIXELS + half, j * SUBPIXELS + half
            wa = float((x[c] - x[b]) * (py - y[b]) - (y[c] - y[b]) * (px - x[b])) * inverse_depth[a]
            wb = float((x[a] - x[c]) * (py - y[c]) - (y[a] - y[c]) * (px - x[c])) * inverse_depth[b]
            wc = float((x[b] - x[a]) * (py - y[a]) - (y[b] - y[a]) * (px - x[a])) * inverse_depth[c]
            area = float((x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]))
            total = wa + wb + wc
            barycentric[j, i, 0], barycentric[j, i, 1], barycentric[j, i, 2] = wa / total, wb / total, wc / total
            depth[j, i] = area / total


@njit(cache=True, nogil=True, error_model="numpy")
def _interpolate_rows(first, last, face_index, barycentric, faces, values, out):  # type: ignore[no-untyped-def]
    for j in range(first, last):
        for i in range(face_index.shape[1]):
            f = face_index[j, i]
            if f < 0:
                out[j, i] = 0.0
                continue
            a, b, c = faces[f]
            wa, wb, wc = barycentric[j, i]
            for k in range(values.shape[1]):
                out[j, i, k] = wa * values[a, k] + wb * values[b, k] + wc * values[c, k]


@njit(cache=True, nogil=True, error_model="numpy")
def _pick_rows(first, last, face_index, barycentric, faces, values, background, out):  # type: ignore[no-untyped-def]
    for j in range(first, last):
        for i in range(face_index.shape[1]):
            f = face_index[j, i]
            out[j, i] = values[faces[f, np.argmax(barycentric[j, i])]] if f >= 0 else background


@njit(cache=True, nogil=True, error_model="numpy")
def _ramp(u):  # type: ignore[no-untyped-def]
    """Integral of clamp(u, 0, 1)."""
    u = max(u, 0.0)
    return 0.5 * u * u if u < 1.0 else u - 0.5


@njit(cache=True, nogil=True, error_model="numpy")
def _outline(corners, count):  # type: ignore[no-untyped-def]
    """Edges where the triangles end, which those of other triangles do not cancel.

    Args:
        corners: (F, 3) indices of ``count`` vertices.
        count: number of vertices.

    Returns:
        (N, 3) int32: two vertices, and how many more edges go from the first to the second than back.
    """
    edges, latest = np.empty((3 * len(corners), 3), np.int32), np.full(count, -1, np.int32)  # of those at a vertex,
    earlier, n = np.empty(3 * len(corners), np.int32), 0  # and the one before each
    for t in range(len(corners)):
        for k in range(3):
            a, b, way = corners[t, k], corners[t, (k + 1) % 3], 1
            if a > b:
                a, b, way = b, a, -1
            e = latest[a]
            while e >= 0 and edges[e, 1] != b:
                e = earlier[e]
            if e < 0:
                e, n = n, n + 1
                edges[e, 0], edges[e, 1], edges[e, 2] = a, b, 0
                earlier[e], latest[a] = latest[a], e
            edges[e, 2] += way
    return edges[:n][edges[:n, 2] != 0]


@njit(cache=True, nogil=True, error_model="numpy")
def _coverage_rows(first, last, x, y, edges, out):  # type: ignore[no-untyped-def]
    width = out.shape[1]
    # change[j, i]: area to the right of the edges, as its change from pixel i - 1 to pixel i.
    change = np.zeros((last - first, width + 1), np.float64)
    for e in range(len(edges)):
        a, b, times = edges[e]
        if y[a] == y[b]:
            continue
        sign = -1.0 * times  # an edge that goes down has the triangle at its left
        if y[a] > y[b]:
            a, b, sign = b, a, 1.0 * times
        ya, yb = y[a] / SUBPIXELS, y[b] / SUBPIXELS
        if yb <= first or ya >= last:
            continue
        xa = x[a] / SUBPIXELS
        slope = (x[b] - x[a]) / (y[b] - y[a])
        for j in range(max(first, int(np.floor(ya))), min(last, int(np.ceil(yb)))):
            top, bottom = max(ya, float(j)), min(yb, float(j + 1))
            x0, x1 = xa + (top - ya) * slope, xa + (bottom - ya) * slope
            if x0 > x1:
                x0, x1 = x1, x0
            height = sign * (bottom - top)
            i0, i1 = max(0, int(np.floor(x0))), min(width, int(np.floor(x1)) + 1)
            covered = 0.0
            for i in range(i0, i1):
                if x1 - x0 < 1e-6:
                    share = min(max(i + 1 - x0, 0.0), 1.0)
                else:
                    share = (_ramp(i + 1 - x0) - _ramp(i + 1 - x1)) / (x1 - x0)
                change[j - first, i] += height * share - covered
                covered = height * share
            change[j - first, max(i1, 0)] += height - covered
    for j in range(first, last):
        layers = 0.0
        for i in range(width):
            layers += change[j - first, i]
            out[j, i] = min(max(layers, 0.0), 1.0) if layers > 1e-6 else 0.0  # edges cancel up to rounding


@njit(cache=True, nogil=True, error_model="numpy")
def _extend(face_index, alpha, new_face_index, new_barycentric, new_depth):  # type: ignore[no-untyped-def]
    height, width = face_index.shape
    offsets = ((0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
    for j in range(height):
        for i in range(width):
            if face_index[j, i] >= 0 or alpha[j, i] <= 0.0:
                continue
            for dj, di in offsets:
                v, u = j + dj, i + di
                if 0 <= v < height and 0 <= u < width and face_index[v, u] >= 0:
                    new_face_index[j, i] = face_index[v, u]
                    new_barycentric[j, i] = new_barycentric[v, u]
                    new_depth[j, i] = new_depth[v, u]
                    break


@njit(cache=True, nogil=True, error_model="numpy")
def _slope(before, here, after):  # type: ignore[no-untyped-def]
    """Change of depth over one pixel, on the side where it is smaller; 0 where neither side is known."""
    change = min(abs(after - here), abs(here - before))
    return change if change < np.inf else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _visible(points, depth, tolerance, slope_pixels, out):  # type: ignore[no-untyped-def]
    height, width = depth.shape
    for k in range(len(points)):
        px, py, pz = points[k]
        out[k] = False
        if not (px >= 0 and px < width and py >= 0 and py < height):
            continue
        i, j = int(px), int(py)
        here = depth[j, i]
        if here == np.inf:
            out[k] = True
            continue
        across = _slope(depth[j, max(i - 1, 0)], here, depth[j, min(i + 1, width - 1)])
        along = _slope(depth[max(j - 1, 0), i], here, depth[min(j + 1, height - 1), i])
        out[k] = pz <= here + tolerance + slope_pixels * np.hypot(across, along)
