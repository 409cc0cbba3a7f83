"""Mouth and eyes in the geometric edit: what opens, what closes, and what lies inside."""

import copy
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from instaface.draft import draft, take_apart
from instaface.draft.carry import Layer, carry_teeth, soften_edges
from instaface.draft.nostrils import nostrils
from instaface.draft.openings import before, over, within
from instaface.draft.teeth import raised, upper_jaw
from instaface.face import Camera, OpenHead
from instaface.photo import Photo
from instaface.render import render_maps
from instaface.track import track
from scenes import tracked_face

SIZE = 320


@pytest.fixture(scope="module")
def model():
    return OpenHead.load()


def photographed(model, parameters, drawn=None):
    """A rendering of a face, as if tracked in a photo; ``drawn`` is the model that is rendered."""
    camera = Camera.for_photo(SIZE, SIZE)
    maps = render_maps(drawn or model, parameters, camera)
    skin = 255 * maps.rendering.clip(0, 1) ** (1 / 2.2)
    pixels = 200 + maps.mask[..., None] * (skin - 200)
    return tracked_face(pixels.clip(0, 255).round().astype(np.uint8), parameters, camera, maps.mask)


def expressed(model, parameters, **weights):
    expression = parameters.torch().expression.clone()
    for name, weight in weights.items():
        expression[0, model.expression_names.index(name)] = weight
    return parameters.replace(expression=expression)


def close_up(model):
    return model.neutral().replace(translation=torch.tensor([[0.0, -6.0, -45.0]]))


def projected(model, face, parameters):
    with torch.no_grad():
        return face.camera.project(model.vertices(parameters)[0]).numpy()


def test_an_opened_mouth_shows_an_even_row_of_teeth_before_the_dark(model):
    face = photographed(model, close_up(model))
    edited = expressed(model, face.parameters, jawOpen=0.7)
    pixels = draft(face, edited, model).pixels.astype(float).mean(-1)
    points = projected(model, face, edited)
    teeth, tongue = model.regions["teeth"].numpy(), model.regions["tongue"].numpy()
    row = np.flatnonzero(upper_jaw(model) & np.isin(np.arange(len(points)), teeth) & (model.mean[:, 2] > 10).numpy())
    edge = points[row][points[row, 1] > points[row, 1].max() - 3]
    half = (edge[:, 0].max() - edge[:, 0].min()) / 2
    y, middle = int(edge[:, 1].min()) - 1, SIZE // 2
    band = pixels[y, int(middle - 0.7 * half) : int(middle + 0.7 * half)]
    depth = pixels[int(points[tongue, 1].mean()), middle - 3 : middle + 3]
    assert band.min() > 1.5 * depth.mean()  # no gaps in the row, and darkness behind
    assert abs(band - band[::-1]).mean() < 12  # left as right


def test_the_row_of_teeth_ends_where_the_photo_shows_it(model):
    smiling = expressed(model, close_up(model), mouthSmileLeft=0.8, mouthSmileRight=0.8, jawOpen=0.3)
    higher = copy.copy(model)
    higher.mean = model.mean.clone()
    higher.mean[torch.from_numpy(upper_jaw(model)), 1] += 0.25
    for drawn, asked in ((model, 0.0), (higher, 0.25)):
        face = photographed(model, smiling, drawn)
        with torch.no_grad():
            vertices = model.vertices(smiling)[0].numpy()
        mouth = np.ones((SIZE, SIZE), np.float32)
        hole = render_maps(model, smiling, face.camera)
        inside = [model.part_names.index(name) for name in ("teeth", "gums", "mouth", "tongue")]
        mouth = (hole.raster.covered & np.isin(model.part_labels.numpy()[hole.raster.face_index], inside)).astype(
            np.float32
        )
        found = raised(model, smiling, vertices, face.camera, face.frame_pixels.astype(np.float32), mouth)
        assert abs(found.max() - asked) < 0.1
        assert (found[~upper_jaw(model)] == 0).all()


def test_a_closed_lid_is_skin_and_not_stretched_lashes(model):
    face = photographed(model, close_up(model))
    points = projected(model, face, face.parameters)
    pixels = face.frame_pixels.copy()
    for side in ("left", "right"):  # make-up: black above the open eye
        ball = points[model.regions[f"iris_{side}"].numpy(), :2]
        (x0, y0), (x1, _) = ball.min(0).astype(int), ball.max(0).astype(int)
        pixels[y0 - 3 : y0 + 2, x0 - 4 : x1 + 4] = 10
    face = replace(face, photo=Photo(pixels))
    edited = expressed(model, face.parameters, eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    closed = draft(face, edited, model).pixels.astype(float).mean(-1)
    forehead = closed[int(points[model.regions["forehead"].numpy(), 1].mean()), SIZE // 2]
    for side in ("left", "right"):
        iris = points[model.regions[f"iris_{side}"].numpy(), :2]
        (x0, y0), (x1, _), (_, y) = iris.min(0).astype(int), iris.max(0).astype(int), iris.mean(0).astype(int)
        assert closed[y0 - 4 : y, x0:x1].min() > 0.5 * forehead


def test_a_layer_under_another_shows_through_its_gaps_only():
    def layer(colour, alpha, x=0):
        flat = np.ones((2, 4), np.float32)
        source = np.full((2, 4, 2), -1, np.float32)
        window = (slice(0, 2), slice(x, x + 4))
        colour = np.full((2, 4, 3), colour, np.float32)
        return Layer(window, colour, alpha * flat, flat, flat, colour * 0 + 1, flat, flat, source)

    front, back = layer(100.0, np.float32([1, 0.5, 0, 1])), layer(20.0, np.float32(1), x=1)
    inner = within(front, back)
    np.testing.assert_allclose(inner.colour[0, :, 0], [60, 20, 100, 20])  # the window and what else is behind stay
    np.testing.assert_allclose(inner.alpha[0], 1)
    out = over(front, back)
    np.testing.assert_allclose(out.alpha[0], 1)
    np.testing.assert_allclose(out.colour[0, :, 0], [100, 60, 20, 100])
    assert front.colour[0, 1, 0] == 100  # the layer that was given stays as it is


def test_the_mouth_stays_as_it_is_while_the_eyes_close(model):
    face = photographed(model, expressed(model, close_up(model), jawOpen=0.4))
    edited = expressed(model, face.parameters, eyeBlinkLeft=1.0, eyeBlinkRight=1.0)
    result = draft(face, edited, model, take_apart(face, model))
    below = int(projected(model, face, face.parameters)[model.regions["nose"].numpy(), 1].max())
    assert (result.pixels[below:] == face.frame_pixels[below:]).all()
    assert (result.pixels[:below] != face.frame_pixels[:below]).any()


def test_a_photos_smile_stays_as_it_is_while_the_eyes_close(model):
    face = track(data.astronaut())[0]
    result = draft(face, expressed(model, face.parameters, eyeBlinkLeft=1.0, eyeBlinkRight=1.0), model)
    below = int(face.landmarks[2, 1]) - face.frame.y  # of the nose
    assert (result.pixels[below:] == face.frame_pixels[below:]).all()
    assert (result.pixels[:below] != face.frame_pixels[:below]).any()


def test_an_opening_jaw_leaves_the_nostrils_as_the_photo_shows_them(model):
    face = photographed(model, close_up(model))
    points = projected(model, face, face.parameters)
    deep = points[nostrils(model) > 0.9]
    pixels = face.frame_pixels.copy()
    x, y = np.rint(deep[:, :2]).astype(int).T
    around = (slice(y.min() - 4, y.max() + 5), slice(x.min() - 4, x.max() + 5))
    pixels[around] = (210, 160, 140)  # a nose of which the photo shows no nostrils
    result = draft(replace(face, photo=Photo(pixels)), expressed(model, face.parameters, jawOpen=0.6), model)
    assert (result.pixels[around].mean(-1) < 130).mean() < 0.02
    up = face.parameters.replace(head=torch.tensor([[0.0, 20.0, 0.0]]))
    raised_nose = draft(replace(face, photo=Photo(pixels)), up, model)
    assert (raised_nose.pixels[around].mean(-1) < 130).mean() > 0.05


def white_toothed(model):
    """A face that smiles with an even white row of teeth, whatever gaps the face model's have."""
    face = photographed(model, expressed(model, close_up(model), jawOpen=0.3, mouthSmileLeft=0.5, mouthSmileRight=0.5))
    points, camera = projected(model, face, face.parameters), face.camera
    teeth = upper_jaw(model) & np.isin(np.arange(len(points)), model.regions["teeth"].numpy())
    edge = points[teeth][:, 1].max()
    maps = render_maps(model, face.parameters, camera)
    names = ("teeth", "gums", "mouth", "tongue")
    row = np.isin(maps.labels, [1 + maps.label_names.index(name) for name in names])
    row &= np.arange(SIZE)[:, None] < edge - 4
    pixels = face.frame_pixels.copy()
    pixels[row] = (235, 230, 220)
    return replace(face, photo=Photo(pixels)), row


def on_frame(scene, layer):
    """(H, W) how much of a layer is seen in the photo, over its frame."""
    canvas = np.zeros(scene.depth.shape, np.float32)
    canvas[layer.window] = layer.alpha * layer.coverage
    return canvas[scene.window]


def test_teeth_that_the_photo_shows_turn_as_one_row_without_gaps(model):
    face, shown = white_toothed(model)
    scene = take_apart(face, model)
    assert scene.row is not None and scene.hidden.sum() > 500
    covered = on_frame(scene, carry_teeth(scene, face.parameters))
    assert (covered[shown] > 0.5).mean() > 0.8
    edited = face.parameters.replace(head=face.parameters.head + torch.tensor([[15.0, 0.0, 0.0]]))
    result, inner = draft(face, edited, model, scene), on_frame(scene, carry_teeth(scene, edited))
    lips = projected(model, face, edited)[model.regions["lips"].numpy()]
    rows, columns = (slice(int(axis.min()) + 8, int(axis.max()) - 8) for axis in (lips[:, 1], lips[:, 0]))
    tooth_by_tooth = draft(face, edited, model, replace(scene, row=None, hidden=scene.hidden & False))
    seen = cv2.erode(inner[rows, columns], np.ones((7, 7))) > 0.99
    dark, broken = ((d.pixels[rows, columns][seen].mean(-1) < 110).mean() for d in (result, tooth_by_tooth))
    assert seen.sum() > 300 and dark == 0 < broken


def test_teeth_that_a_lip_hides_do_not_come_out_from_under_it(model):
    face = photographed(model, expressed(model, close_up(model), jawOpen=0.6))
    maps = render_maps(model, face.parameters, face.frame_camera)
    inside = np.isin(maps.labels, [1 + maps.label_names.index(name) for name in ("teeth", "gums", "mouth", "tongue")])
    pixels = face.frame_pixels.copy()
    pixels[inside] = (14, 8, 8)
    dark = replace(face, photo=Photo(pixels))
    edited = face.parameters.replace(head=face.parameters.head + torch.tensor([[25.0, 0.0, 0.0]]))
    bright = []
    for photo in (face, dark):
        scene = take_apart(photo, model)
        assert scene.toothless == (photo is dark)
        seen = render_maps(model, edited, face.frame_camera)
        teeth = upper_jaw(model)[seen.vertex] & (seen.labels == 1 + seen.label_names.index("teeth"))
        assert teeth.sum() > 100
        bright.append((draft(photo, edited, model, scene).pixels[teeth].mean(-1) > 60).mean())
    print("bright", bright)
    assert bright[0] > 0.5 and bright[1] < 0.05


def test_a_closed_mouth_shows_no_row_of_teeth(model):
    scene = take_apart(photographed(model, close_up(model)), model)
    assert scene.row is None and not scene.hidden.any()


def test_soft_edges_over_what_is_new_are_new():
    """They are mixed; the photo's own pixel beside what is drawn anew would be a hard step."""

    def layer(alpha, still):
        one, colour = np.ones((3, 4), np.float32), np.ones((3, 4, 3), np.float32)
        y, x = np.mgrid[:3, :4] + np.float32(0.5)
        window = (slice(0, 3), slice(0, 4))
        return Layer(window, colour, alpha * one, one, still * one, colour, one, one, np.dstack([x, y]))

    edge = np.float32([1, 0.6, 0, 0])
    for laid in (within, over):
        assert laid(layer(edge, 1), layer(1, 0)).still[1].tolist() == [1, 0, 0, 0]
        assert laid(layer(edge, 1), layer(1, 1)).still[1].tolist() == [1, 1, 1, 1]


def test_behind_teeth_nothing_is_trusted_that_shows_no_mouth_around(model):
    face, _ = white_toothed(model)
    scene = take_apart(face, model)
    assert scene.row is not None
    shut = replace(scene, open=np.where(scene.open > 0.5, 0, scene.open))
    assert (shut.behind_teeth == -1).all() and scene.behind_teeth.max() > 0.5


def test_the_far_ear_is_not_seen_through_an_eye():
    def layer(depth, alpha):
        flat, colour = np.ones((1, 4), np.float32), np.ones((1, 4, 3), np.float32)
        depth = np.float32(depth) * flat
        return Layer((slice(0, 1), slice(0, 4)), colour, np.float32(alpha) * flat, flat, flat, colour, depth, flat)

    eye = layer([50, 50, 50, np.inf], [1, 1, 1, 0])
    face = layer([49.5, 58, np.inf, 58], [1, 1, 0, 1])  # a lid, the ear, nothing, the ear beside the eye
    assert before(eye, face).alpha[0].tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("turn", [-24.0, 24.0])
def test_the_eyes_of_a_turned_head_show_eyeballs_only(model, turn):
    face = photographed(model, model.neutral())
    edited = face.parameters.replace(head=torch.tensor([[turn, 0.0, 0.0]]))
    result, maps = draft(face, edited, model), render_maps(model, edited, face.camera)
    eyes = np.isin(maps.labels, [1 + maps.label_names.index(n) for n in ("eyeball_left", "eyeball_right")])
    eyes = cv2.erode(eyes.astype(np.uint8), np.ones((3, 3))) > 0
    assert eyes.sum() > 20
    away = np.linalg.norm(result.source - face.camera.center, axis=-1)[eyes]
    assert away.max() < 0.25 * SIZE  # of the photo's middle; ears are farther


def test_what_has_moved_before_other_parts_has_a_soft_edge():
    colour, depth = np.full((20, 20, 3), 200, np.float32), np.full((20, 20), 60, np.float32)
    colour[:, 10:], depth[:, 10:] = 20, 64  # a dark cheek behind a light nose
    colour[::2, 4] = 150  # drawn on it
    depth[:, :9] -= 0.2 * np.arange(9, 0, -1)  # which is steep there
    moved, still = colour.copy(), colour.copy()
    soften_edges(moved, depth, np.zeros_like(depth), focal=1000.0)
    soften_edges(still, depth, np.ones_like(depth), focal=1000.0)
    assert 100 < moved[10, 9, 0] < 190 and 30 < moved[10, 10, 0] < 120
    assert (moved[:, :8] == colour[:, :8]).all() and (moved[:, 12:] == 20).all()
    assert (still == colour).all()
