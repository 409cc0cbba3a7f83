"""Axes, signs and units, each stated once and held here."""

import pytest
import torch

from instaface.face import Camera, angles_from_rotation, rotation_from_angles
from instaface.face.light import direction_from_angles, directional, shade

NOSE = torch.tensor([0.0, 0.0, 1.0])
TOP = torch.tensor([0.0, 1.0, 0.0])


def test_positive_yaw_turns_the_nose_to_the_right_edge():
    nose = rotation_from_angles(torch.tensor([30.0, 0.0, 0.0])) @ NOSE
    assert nose[0] == pytest.approx(0.5, abs=1e-6)


def test_positive_pitch_raises_the_nose():
    nose = rotation_from_angles(torch.tensor([0.0, 30.0, 0.0])) @ NOSE
    assert nose[1] == pytest.approx(0.5, abs=1e-6)


def test_positive_roll_tilts_clockwise_as_seen():
    top = rotation_from_angles(torch.tensor([0.0, 0.0, 30.0])) @ TOP
    assert top[0] == pytest.approx(0.5, abs=1e-6)


def test_rotation_is_yaw_times_pitch_times_roll_and_invertible():
    angles = torch.tensor([[20.0, 10.0, 5.0], [-70.0, -40.0, 120.0]])
    parts = [rotation_from_angles(angles * torch.eye(3)[k]) for k in range(3)]
    rotation = rotation_from_angles(angles)
    torch.testing.assert_close(rotation, parts[0] @ parts[1] @ parts[2])
    torch.testing.assert_close(angles_from_rotation(rotation), angles, atol=1e-3, rtol=0)


def test_camera_projects_up_to_up_and_crops_keep_the_view():
    camera = Camera.for_photo(400, 300)
    point = torch.tensor([3.0, 2.0, -60.0])
    x, y, depth = camera.project(point)
    assert x > 200 and y < 150 and depth == 60
    cropped = camera.crop(100, 50, 200, 200, (512, 512)).project(point)
    torch.testing.assert_close(cropped[:2], (torch.stack([x, y]) - torch.tensor([100.0, 50.0])) * 2.56)
    back = camera.unproject([float(x), float(y)], float(depth))
    torch.testing.assert_close(torch.from_numpy(back), point, atol=1e-4, rtol=0)


def test_a_directional_light_shades_as_a_clamped_cosine():
    normals = torch.nn.functional.normalize(
        torch.randn(1, 20000, 3, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    direction = direction_from_angles(torch.tensor([40.0]), torch.tensor([20.0]))
    assert direction[0, 0] > 0 and direction[0, 1] > 0
    shading = shade(normals, directional(direction, torch.ones(1), torch.zeros(1)))[0, :, 0]
    expected = (normals[0] @ direction[0]).clamp(min=0)
    assert (shading - expected).square().mean().sqrt() < 0.04  # second-order harmonics leave 0.036
