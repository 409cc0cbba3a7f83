"""Filling: smooth continuation, reflection, Laplace's equation, the shell's profile."""

import numpy as np
import pytest

from instaface.draft.fill import continue_texture, push_pull, reflect
from instaface.draft.relief import DROP, FACED, build_shell, harmonic, heights, strands
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


def test_hair_seen_from_its_edge_is_looked_up_as_far_inside_as_it_lies_behind():
    """Half a cylinder of hair: x is the photo's column, and so is the arc as far as the camera sees it well."""
    column = np.arange(61, dtype=np.float32)
    x = np.tile((column - 30) / 2, (31, 1))  # two cells a centimetre
    z = -1000 + np.sqrt(np.maximum(15.0**2 - x**2, 0))
    front = np.stack([x, np.zeros_like(x), z], -1).astype(np.float32)
    normals = np.stack([x / 15, np.zeros_like(x), np.sqrt(np.maximum(1 - (x / 15) ** 2, 0))], -1).astype(np.float32)
    back = front * (1, 1, 1)
    back[..., 2] = -2000 - z
    lookup = strands(front, back, normals, np.ones((31, 61), np.float32), step=4, focal=8 * 1000.0)
    found = (lookup[: 31 * 61].reshape(31, 61, 2)[15, :, 0] / 4).astype(float)
    np.testing.assert_allclose(found[10:50], column[10:50], atol=0.3)
    last = int(np.nonzero(normals[15, :, 2] > FACED)[0].max())
    for c in range(last + 2, 60):
        away = 2 * np.linalg.norm(front[15, c] - front[15, last])
        assert found[c] == pytest.approx(last - away, abs=1.0)
    assert (np.abs(found - 30) < 30).all()


def test_behind_a_face_goes_on_what_one_does_not_see_through():
    head, face, _ = _half_ball(face_radius=10, head_radius=17)
    jaw = np.where(face, -52.0, -np.inf).astype(np.float32)
    rows, nowhere = np.ones(head.shape, np.float32), np.zeros(head.shape, bool)
    for share, goes_on in ((1.0, True), (0.7, False)):
        hair = (share * (head & ~face)).astype(np.float32)
        relief = heights(head, face, ~head, jaw, jaw, nowhere, nowhere[0], rows, hair, middle=-60.0, cell=0.5)
        assert relief.hanging[20, 32] and relief.behind[20, 27] == goes_on
