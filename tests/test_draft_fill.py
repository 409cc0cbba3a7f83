"""Filling: smooth continuation, reflection, Laplace's equation, the shell's profile."""

import numpy as np
import pytest

from instaface.draft.fill import continue_texture, push_pull, reflect
from instaface.draft.relief import build_shell, harmonic, heights
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


def _half_disc():
    y, x = np.mgrid[:41, :41] - 20.0
    radius = np.hypot(x, y)
    head, face = radius < 17, radius < 7
    return head, face, np.where(face, -50.0, -np.inf).astype(np.float32)


def test_the_shell_leaves_the_face_and_reaches_its_silhouette_in_the_middle():
    head, face, surface = _half_disc()
    z, rim = heights(head, face, ~head, surface, middle=-60.0, cell=1.0)
    across = z[20, 27:38]
    assert (np.diff(across) < 1e-3).all()  # it only falls back
    assert across[0] > -52 and z[20, 36] < -56
    assert rim[20, 30] == pytest.approx(-60, abs=0.5)


def test_a_thin_rim_does_not_reach_the_middle():
    y, x = np.mgrid[:41, :41] - 20.0
    radius = np.hypot(x, y)
    head, face = radius < 12, radius < 10.5
    surface = np.where(face, -50.0, -np.inf).astype(np.float32)
    z, _ = heights(head, face, ~head, surface, middle=-60.0, cell=0.1)
    assert z[20, 31] > -52


def test_the_shell_is_closed_and_its_back_shows_the_same_pixels():
    head, face, surface = _half_disc()
    camera = Camera.for_photo(164, 164)
    z, rim = heights(head, face, ~head, surface, middle=-60.0, cell=1.0)
    anchors = np.where(face, 3, -1)
    shell = build_shell(camera, z, rim, np.ones_like(z), np.ones((40, 40), bool), 4, anchors, np.zeros_like(z))
    import torch

    half = len(shell.points) // 2
    front, back = (camera.project(torch.from_numpy(p)).numpy() for p in np.split(shell.points, 2))
    np.testing.assert_allclose(front[:, :2], back[:, :2], atol=1e-2)
    outside = ~head.reshape(-1)
    np.testing.assert_allclose(front[outside, 2], back[outside, 2], atol=1e-3)  # they meet
    assert len(shell.normals) == 2 * half and (shell.normals[:half, 2] > 0).all() and (shell.anchor == 3).all()
