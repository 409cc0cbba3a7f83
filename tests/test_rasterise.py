"""The rasteriser against closed forms: planes, spheres and polygons."""

import numpy as np
import pytest

from instaface.render.rasterise import coverage, extend, interpolate, rasterise, visible


def fan(n: int, radius: float, centre: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A regular polygon as a fan of triangles at depth 1, anticlockwise as seen."""
    angle = -2 * np.pi * np.arange(n) / n
    rim = np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), np.ones(n)], -1)
    faces = [[n, k, (k + 1) % n] for k in range(n)]
    return np.vstack([rim, [[*centre, 1]]]).astype(np.float32), np.array(faces)


def random_grid(seed: int, cells: int = 20, size: float = 96) -> tuple[np.ndarray, np.ndarray]:
    """Triangles that tile the square 0..size, their inner vertices scattered, some of them on pixel centres."""
    generator = np.random.default_rng(seed)
    step = size / cells
    y, x = np.mgrid[0 : cells + 1, 0 : cells + 1] * step
    inner = np.zeros_like(x, bool)
    inner[1:-1, 1:-1] = True
    x = np.where(inner, x + generator.uniform(-0.3, 0.3, x.shape) * step, x)
    y = np.where(inner, y + generator.uniform(-0.3, 0.3, y.shape) * step, y)
    snapped = inner & (generator.random(x.shape) < 0.3)
    x, y = np.where(snapped, np.floor(x) + 0.5, x), np.where(snapped, np.floor(y) + 0.5, y)
    vertices = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    a, b, c, d = corner, corner + 1, corner + cells + 1, corner + cells + 2
    return vertices, np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)])


@pytest.mark.parametrize("seed", range(3))
def test_triangles_that_share_edges_cover_every_pixel_exactly_once(seed):
    vertices, faces = random_grid(seed)
    hits = np.zeros((96, 96), int)
    for face in faces:
        hits += rasterise(vertices, face[None], 96, 96).covered
    assert (hits == 1).all()
    assert rasterise(vertices, faces, 96, 96).covered.all()


def test_front_faces_are_anticlockwise_as_seen():
    vertices = np.array([[10, 90, 1], [90, 90, 1], [50, 10, 1]], np.float32)
    seen = {cull: rasterise(vertices, [[0, 1, 2]], 100, 100, cull).covered.any() for cull in ("back", "front", "none")}
    assert seen == {"back": True, "front": False, "none": True}


def test_interpolation_is_perspective_correct_on_a_tilted_plane():
    # The plane z = -4 + x / 2 in camera space carries its own x and y as attributes.
    focal, size = 100.0, 128
    corners = np.array([[-3, -2], [3, -2], [3, 2], [-3, 2]], np.float32)
    depth = 4 - corners[:, 0] / 2
    vertices = np.stack([64 + focal * corners[:, 0] / depth, 64 - focal * corners[:, 1] / depth, depth], -1)
    faces = [[0, 1, 2], [0, 2, 3]]
    raster = rasterise(vertices, faces, size, size)
    result = interpolate(raster, faces, corners)
    # The ray through pixel (u, v) is x = a d, with a = (u - 64) / focal, and meets the plane at d = 4 - a d / 2.
    v, u = np.mgrid[0:size, 0:size] + 0.5
    a, b = (u - 64) / focal, (64 - v) / focal
    d = 4 / (1 + a / 2)
    inside = (np.abs(a * d) < 3) & (np.abs(b * d) < 2)
    assert inside.sum() > 5000
    assert (raster.covered == inside).mean() > 0.995
    seen = inside & raster.covered
    np.testing.assert_allclose(result[seen], np.stack([a * d, b * d], -1)[seen], atol=1e-3)
    np.testing.assert_allclose(raster.depth[seen], d[seen], atol=1e-3)
    assert not result[~raster.covered].any()
    assert np.isinf(raster.depth[~raster.covered]).all()


def test_the_nearest_triangle_is_seen_also_where_two_cross():
    # Two planes that cross along the column x = 50.
    left = [[0, 100, 1], [100, 100, 3], [100, 0, 3], [0, 0, 1]]
    right = [[0, 100, 3], [100, 100, 1], [100, 0, 1], [0, 0, 3]]
    faces = [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]
    raster = rasterise(np.array(left + right, np.float32), faces, 100, 100)
    assert (raster.face_index[:, :49] < 2).all() and (raster.face_index[:, 51:] >= 2).all()


def test_coverage_of_a_polygon_is_its_area():
    for n, radius, centre in [(3, 40.3, (50.2, 51.7)), (7, 30.0, (48.0, 50.0)), (200, 20.25, (60.6, 40.1))]:
        vertices, faces = fan(n, radius, centre)
        alpha = coverage(vertices, faces, 100, 100)
        assert alpha.sum() == pytest.approx(n / 2 * radius**2 * np.sin(2 * np.pi / n), rel=1e-4)
        assert alpha.min() >= 0 and alpha.max() <= 1


def test_coverage_is_the_share_of_each_pixel_also_beyond_the_borders():
    triangle = np.array([[-20, 130, 1], [150, 140, 1], [30, -25, 1]], np.float32)
    alpha = coverage(triangle, [[0, 1, 2]], 100, 100)
    fine = rasterise(triangle * [32, 32, 1], [[0, 1, 2]], 3200, 3200).covered
    expected = fine.reshape(100, 32, 100, 32).mean((1, 3))
    np.testing.assert_allclose(alpha, expected, atol=0.02)


def test_coverage_does_not_see_inner_edges_nor_back_faces():
    vertices, faces = random_grid(0)
    np.testing.assert_allclose(coverage(vertices, faces, 96, 96), 1, atol=1e-6)
    assert not coverage(vertices, faces[:, ::-1], 96, 96).any()
    np.testing.assert_allclose(coverage(vertices, faces[:, ::-1], 96, 96, cull="none"), 1, atol=1e-6)


def test_extended_raster_sees_something_wherever_alpha_is_positive():
    vertices, faces = fan(50, 30.3, (50.2, 49.9))
    raster, alpha = rasterise(vertices, faces, 100, 100), coverage(vertices, faces, 100, 100)
    extended = extend(raster, alpha)
    assert (alpha[~raster.covered] > 0).any()
    assert extended.covered[alpha > 0].all() and not extended.covered[alpha == 0].any()
    assert (extended.face_index == raster.face_index)[raster.covered].all()


def test_result_does_not_depend_on_the_number_of_threads():
    vertices, faces = random_grid(4, size=300)
    one, four = (rasterise(vertices, faces, 300, 300, threads=n) for n in (1, 4))
    assert (one.face_index == four.face_index).all() and (one.barycentric == four.barycentric).all()
    covers = [coverage(vertices, faces, 300, 300, threads=n) for n in (1, 4)]
    np.testing.assert_allclose(*covers, atol=1e-6)


def test_points_behind_the_camera_or_not_finite_are_left_out():
    vertices = np.array([[0, 90, 1], [90, 90, 1], [50, 0, -1], [50, 0, np.nan], [np.inf, 0, 1]], np.float32)
    assert not rasterise(vertices, [[0, 1, 2], [0, 1, 3], [0, 1, 4]], 90, 90, "none").covered.any()
    assert not coverage(vertices, [[0, 1, 2], [0, 1, 3], [0, 1, 4]], 90, 90, "none").any()


def test_points_on_a_steep_surface_are_visible_and_points_behind_are_not():
    # A plane whose depth grows by 0.5 a pixel: far more than the tolerance.
    plane = np.array([[0, 100, 10], [100, 100, 60], [100, 0, 60], [0, 0, 10]], np.float32)
    raster = rasterise(plane, [[0, 1, 2], [0, 2, 3]], 100, 100)
    generator = np.random.default_rng(0)
    x, y = generator.uniform(2, 98, (2, 2000))
    inverse = 1 / 10 + (1 / 60 - 1 / 10) * x / 100
    on_plane = np.stack([x, y, 1 / inverse], -1)
    assert visible(on_plane, raster.depth).all()
    assert not visible(on_plane + np.array([0, 0, 4]), raster.depth).any()
    assert not visible([[-1, 5, 1], [5, 101, 1]], raster.depth).any()
    assert visible([[50, 50, 1e9]], np.full((100, 100), np.inf, np.float32)).all()
