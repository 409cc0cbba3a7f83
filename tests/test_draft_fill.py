"""Filling: smooth continuation, reflection, Laplace's equation, the shell's profile."""

import cv2
import numpy as np
import pytest

from instaface.draft.apart import _combed
from instaface.draft.fill import continue_texture, grain, push_pull, reflect
from instaface.draft.relief import DROP, FACED, build_shell, harmonic, heights, unrolled
from instaface.face import Camera


def test_push_pull_keeps_what_is_known_and_stays_in_its_range():
    rng = np.random.default_rng(0)
    values = rng.uniform(10, 20, (60, 80, 3)).astype(np.float32)
    known = (rng.random((60, 80)) < 0.1).astype(np.float32)
    filled = push_pull(values, known)
    np.testing.assert_allclose(filled[known == 1], values[known == 1], rtol=1e-5)
    assert filled.min() > 9.9 and filled.max() < 20.1


def test_push_pull_continues_a_constant():
    known = np.zeros((50, 50), np.float32)
    known[:5] = 1
    np.testing.assert_allclose(push_pull(np.full((50, 50), 7, np.float32), known), 7, rtol=1e-4)


def test_reflect_mirrors_at_a_straight_border():
    values = np.repeat(np.tile(np.arange(100, dtype=np.float32), (100, 1))[..., None], 3, -1)
    known = np.zeros((100, 100), bool)
    known[:, :60] = True
    mirrored, trust = reflect(values, known, smooth=1)
    assert mirrored[50, 65, 0] == pytest.approx(2 * 59 - 65, abs=0.1)
    assert trust[50, 61] > 0.9 and trust[50, 99] < trust[50, 70]


def test_continue_texture_leaves_the_inside_alone():
    values = np.random.default_rng(0).uniform(0, 255, (64, 64, 3)).astype(np.float32)
    known = np.zeros((64, 64), bool)
    known[:, :32] = True
    np.testing.assert_allclose(continue_texture(values, known)[:, :24], values[:, :24], atol=1e-3)


def test_harmonic_is_linear_between_two_plates():
    fixed = np.zeros((9, 21), bool)
    fixed[:, [0, -1]] = True
    values = np.zeros((9, 21), np.float32)
    values[:, -1] = 1
    solution = harmonic(~fixed, fixed, values)
    np.testing.assert_allclose(solution, np.tile(np.linspace(0, 1, 21), (9, 1)), atol=1e-4)


def _half_ball(face_radius=7, skull_radius=13, head_radius=17):
    """A skull that is half a ball in front of z = -60, a face in its middle, hair around it."""
    y, x = np.mgrid[:41, :41] - 20.0
    radius = np.hypot(x, y)
    skull = np.where(radius < skull_radius, -60 + np.sqrt(np.maximum(skull_radius**2 - radius**2, 0)), -np.inf)
    return radius < head_radius, radius < face_radius, skull.astype(np.float32)


def _relief(head, face, skull, cell, low=0.0, neck=False, framing=False):
    hair, rows = head & ~face, np.full(head.shape, low, np.float32)
    neck, framing = np.isfinite(skull) & ~face & neck, np.full(head.shape[1], framing)
    return heights(head, face, ~head, skull, skull, neck, framing, rows, hair, middle=-60.0, cell=cell)


def test_hair_hugs_the_skull_and_reaches_its_silhouette_in_the_middle():
    head, face, skull = _half_ball()
    z = _relief(head, face, skull, cell=1.0).z
    assert (z[face] == skull[face]).all()
    assert (np.diff(z[20, 27:37]) < 1e-3).all()  # it only falls back
    hair = head & ~face & np.isfinite(skull)
    assert (z[hair] > skull[hair]).all()
    assert abs(z[20, 27] - z[20, 26]) < 1.5  # no step at the hairline
    assert z[20, 37] < -58


def test_hair_at_an_edge_of_the_face_falls_back_without_a_wall():
    head, face, _ = _half_ball(face_radius=10, head_radius=17)
    jaw = np.where(face, -52.0, -np.inf).astype(np.float32)
    z = _relief(head, face, jaw, cell=0.2).z
    assert np.abs(np.diff(z[20, 29:37])).max() < 3
    assert z[20, 37] < -59.5


def test_hair_below_the_ears_hangs_behind_the_face_and_goes_on_there():
    head, face, _ = _half_ball(face_radius=10, head_radius=17)
    jaw = np.where(face, -52.0, -np.inf).astype(np.float32)
    relief = _relief(head, face, jaw, cell=0.5, low=1.0)
    np.testing.assert_allclose(relief.z[20, 31:37], -60, atol=1e-3)
    assert relief.behind[20, 27] and not relief.behind[20, 20]  # up to 2.5 cm behind the face, no farther
    assert relief.z[20, 27] == -60 and relief.z[20, 20] == -52


def test_hair_that_hides_the_ear_hangs_right_beside_the_cheek_and_falls_back_from_there():
    head, face, _ = _half_ball(face_radius=10, head_radius=17)
    jaw = np.where(face, -52.0, -np.inf).astype(np.float32)
    apart, beside = (_relief(head, face, jaw, cell=0.5, low=1.0, framing=framing).z for framing in (False, True))
    assert apart[20, 31] == -60 and beside[20, 31] > -59
    assert (np.diff(beside[20, 31:38]) < 0.05).all() and (beside[20, 31:38] <= -52 - DROP).all()


def test_hair_before_the_neck_hangs_behind_the_jaw_without_a_bridge_to_it():
    head, face, _ = _half_ball(face_radius=10, head_radius=19)
    below = np.hypot(*(np.mgrid[:41, :41] - 20.0)) < 16
    skull = np.where(face, -52.0, np.where(below, -59.0, -np.inf)).astype(np.float32)
    bridged, hung = (_relief(head, face, skull, cell=0.5, low=1.0, neck=neck) for neck in (False, True))
    assert hung.hanging[20, 31:39].all() and not bridged.hanging[20, 31:35].any()
    assert (hung.z[20, 31:39] < -58).all()


def test_the_shell_is_closed_and_its_back_shows_the_same_pixels():
    head, face, skull = _half_ball()
    camera = Camera.for_photo(164, 164)
    relief = _relief(head, face, skull, cell=1.0)
    anchors, hair, ones = np.where(face, 3, -1), (head & ~face).astype(np.float32), np.ones(head.shape, np.float32)
    shell = build_shell(camera, relief, -60.0, ones, np.ones((40, 40), bool), 4, anchors, hair, head * ones)
    import torch

    half = len(shell.points) // 2
    front, back = (camera.project(torch.from_numpy(p)).numpy() for p in np.split(shell.points, 2))
    np.testing.assert_allclose(front[:, :2], back[:, :2], atol=1e-2)
    y, x = np.mgrid[:41, :41] - 20.0
    outside = (np.hypot(x, y) > 19).reshape(-1)
    np.testing.assert_allclose(front[outside, 2], back[outside, 2], atol=0.5)  # they meet
    assert (front[:, 2] <= back[:, 2] + 1e-3).all()
    assert len(shell.normals) == 2 * half and (shell.normals[:half, 2] > 0).all() and (shell.anchor == 3).all()


def test_hair_seen_from_its_edge_is_unrolled_as_far_outside_as_it_lies_behind():
    """Half a cylinder of hair: x is the photo's column, and so is the arc as far as the camera sees it well."""
    column = np.arange(241, dtype=np.float32)
    x = np.tile((column - 120) / 8, (61, 1))  # eight cells a centimetre
    z = -1000 + np.sqrt(np.maximum(15.0**2 - x**2, 0))
    front = np.stack([x, np.zeros_like(x), z], -1).astype(np.float32)
    normals = np.stack([x / 15, np.zeros_like(x), np.sqrt(np.maximum(1 - (x / 15) ** 2, 0))], -1).astype(np.float32)
    back = front * (1, 1, 1)
    back[..., 2] = -2000 - z
    lookup = unrolled(front, back, normals, np.ones((61, 241), np.float32), step=4, focal=32 * 1000.0)
    found = (lookup[: 61 * 241].reshape(61, 241, 2)[30, :, 0] / 4).astype(float)
    np.testing.assert_allclose(found[20:220], column[20:220], atol=0.3)
    last = int(np.nonzero(normals[30, :, 2] > FACED)[0].max())
    assert last < 235
    for c in range(last + 2, 239):
        away = 8 * np.linalg.norm(front[30, c] - front[30, last])
        assert found[c] == pytest.approx(last + away, abs=3.0)


def test_behind_a_face_goes_on_what_one_does_not_see_through():
    head, face, _ = _half_ball(face_radius=10, head_radius=17)
    jaw = np.where(face, -52.0, -np.inf).astype(np.float32)
    rows, nowhere = np.ones(head.shape, np.float32), np.zeros(head.shape, bool)
    for share, goes_on in ((1.0, True), (0.7, False)):
        hair = (share * (head & ~face)).astype(np.float32)
        relief = heights(head, face, ~head, jaw, jaw, nowhere, nowhere[0], rows, hair, middle=-60.0, cell=0.5)
        assert relief.hanging[20, 32] and relief.behind[20, 27] == goes_on


def _noisy_wall() -> tuple[np.ndarray, np.ndarray]:
    """(240, 320, 3) a wall that gets brighter to the right, with noise of deviation 3, and its left part known."""
    rng = np.random.default_rng(1)
    wall = 80 + 0.3 * np.arange(320, dtype=np.float32)[None, :, None] + rng.normal(0, 3, (240, 320, 3))
    return wall.astype(np.float32), np.arange(320)[None, :].repeat(240, 0) < 160


def test_what_is_filled_far_from_all_that_is_known_has_the_grain_of_it():
    wall, known = _noisy_wall()
    filled = continue_texture(wall, known)[:, 260:]
    fine = filled - cv2.GaussianBlur(filled, (0, 0), 4)
    assert fine.std() == pytest.approx(3, rel=0.15)
    assert filled.mean((0, 2)).std() < 1.5  # no stripes
    np.testing.assert_array_equal(filled, continue_texture(wall, known)[:, 260:])


def test_grain_repeats_nowhere_and_lies_only_where_it_is_wanted():
    wall, known = _noisy_wall()
    laid = grain(wall, known, ~known)
    assert np.abs(laid[known]).max() == 0 and abs(laid[~known].mean()) < 0.1
    part = laid[:, 170:, 0]
    for way in (10, 20, 40, 60):
        alike = (part[:, way:] * part[:, :-way]).mean() / part.var()
        assert abs(alike) < 0.1


def test_no_grain_comes_from_less_than_a_tile():
    wall, _ = _noisy_wall()
    known = np.zeros(wall.shape[:2], bool)
    known[:20, :20] = True
    assert np.abs(grain(wall, known, ~known)).max() == 0


def test_single_hairs_on_a_wall_are_no_part_of_its_grain():
    wall, known = _noisy_wall()
    wall[110:130:4, 70:90] -= 60
    assert np.abs(grain(wall, known, ~known)).max() < 25


def test_soft_hair_has_the_texture_of_the_hair_that_goes_on_and_solid_hair_its_own():
    rng = np.random.default_rng(2)
    opacity = np.clip(np.linspace(2, -1, 60, dtype=np.float32), 0, 1)[None].repeat(60, 0)
    head = np.dstack([np.full((60, 60, 3), 40, np.float32), opacity])
    strands = rng.normal(40, 10, (60, 60, 3)).astype(np.float32)
    combed = _combed(head, opacity, strands)
    np.testing.assert_array_equal(combed[:, :20], head[:, :20])
    np.testing.assert_allclose(combed[:, 30:38, :3], strands[:, 30:38], atol=1e-3)
    np.testing.assert_array_equal(combed[..., 3], opacity)
    np.testing.assert_array_equal(_combed(head, np.zeros_like(opacity), strands), head)  # skin
