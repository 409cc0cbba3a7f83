"""The geometric edit, on a rendered head over a plain background: what is asked comes out, what is not stays."""

import numpy as np
import pytest
import torch

from instaface.draft import draft, take_apart
from instaface.face import Camera, OpenHead
from instaface.render import render_maps
from scenes import tracked_face

SIZE = 160


@pytest.fixture(scope="module")
def model():
    return OpenHead.load()


@pytest.fixture(scope="module")
def face(model):
    """A rendered bald head, with its true parameters and matte."""
    parameters = model.neutral()
    camera = Camera.for_photo(SIZE, SIZE)
    maps = render_maps(model, parameters, camera)
    colour = 255 * maps.rendering.clip(0, 1) ** (1 / 2.2)
    background = np.array([40, 90, 160], np.float32)
    pixels = colour * maps.mask[..., None] + background * (1 - maps.mask[..., None])
    return tracked_face(pixels.astype(np.uint8), parameters, camera, maps.mask)


@pytest.fixture(scope="module")
def scene(face, model):
    return take_apart(face, model)


def turned(face, yaw=0.0, pitch=0.0):
    return face.parameters.replace(head=face.parameters.head + torch.tensor([[yaw, pitch, 0.0]]))


def test_no_change_changes_nothing_inside_of_the_face(face, scene, model):
    result = draft(face, face.parameters, model, scene)
    difference = np.abs(result.pixels.astype(int) - face.photo.pixels.astype(int))
    assert difference.mean() < 0.5 and np.percentile(difference, 99) <= 8
    assert (result.pixels[result.mask == 0] == face.photo.pixels[result.mask == 0]).all()


def test_a_turned_head_looks_like_a_rendering_of_the_turned_head(face, scene, model):
    edited = turned(face, yaw=15)
    result = draft(face, edited, model, scene)
    maps = render_maps(model, edited, face.camera)
    colour = 255 * maps.rendering.clip(0, 1) ** (1 / 2.2)
    inner = (maps.mask > 0.99) & (result.coverage > 0.9)
    assert inner.mean() > 0.15
    assert np.abs(result.pixels[inner].astype(float) - colour[inner]).mean() < 6


def test_what_the_turn_uncovers_is_marked_and_grey_in_the_appearance(face, scene, model):
    result = draft(face, turned(face, yaw=30), model, scene)
    assert result.coverage.min() < 0.05 and result.coverage.max() > 0.99
    invented = result.coverage < 0.02
    assert invented.mean() > 0.01
    assert np.abs(result.appearance[invented].astype(int) - 127).max() <= 8  # the last 2 % of coverage


def test_pixels_far_from_the_head_stay(face, scene, model):
    result = draft(face, turned(face, yaw=20), model, scene)
    corner = np.s_[:20, :20]
    assert (result.mask[corner] == 0).all()
    assert (result.pixels[corner] == face.photo.pixels[corner]).all()


def test_light_from_the_right_brightens_the_right(face, scene, model):
    from instaface.face.light import direction_from_angles, directional

    light = directional(
        direction_from_angles(torch.tensor([70.0]), torch.tensor([0.0])), torch.ones(1), torch.ones(1) / 4
    )
    result = draft(face, face.parameters.replace(light=light), model, scene)
    skin = result.pixels.astype(float).mean(-1)
    y, x = np.nonzero(face.matte.person > 0.99)
    middle = np.median(x)
    left, right = (skin[y[side], x[side]].mean() for side in (x < middle - 10, x > middle + 10))
    assert right > 1.3 * left


def test_an_open_mouth_shows_a_dark_inside(face, scene, model):
    expression = face.parameters.expression.clone()
    expression[0, model.expression_names.index("jawOpen")] = 1
    result = draft(face, face.parameters.replace(expression=expression), model, scene)
    change = face.photo.pixels.astype(int).mean(-1) - result.pixels.astype(int).mean(-1)
    assert (change > 60).sum() > 30
