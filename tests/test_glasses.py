"""Glasses: recognised, traced, lifted off the skin, and carried as a rigid thing before the face."""

import cv2
import numpy as np
import pytest
import torch

from instaface.draft import apart, draft, take_apart
from instaface.draft.glasses import lift, place
from instaface.face import Camera, OpenHead
from instaface.render import render_maps
from instaface.track.glasses import STRIP, Glasses, _trace, best_path, find_glasses
from instaface.track.landmarks import Landmarks
from scenes import tracked_face

SKIN = np.array([200, 150, 125], np.uint8)
EYES = (128, 96), (224, 96)  # centres in the strip
SIZE = 200


def strip_landmarks():
    """(478, 2) of two eyes; all other landmarks lie out of the way."""
    points = np.full((478, 2), -50.0, np.float32)
    for (x, y), corners in zip(EYES, ((33, 133, 159, 145), (263, 362, 386, 374)), strict=True):
        points[list(corners)] = (x - 32, y), (x + 32, y), (x, y - 10), (x, y + 10)
    points[168] = (176, 90)
    return points


def strip_with_frame(colour=(40, 30, 30), thick=4):
    """A plain strip with rims, a bridge and temples, and the mask of what was drawn."""
    strip, mask = np.full((STRIP[1], STRIP[0], 3), SKIN), np.zeros(STRIP[::-1], np.uint8)
    for picture, paint in ((strip, colour), (mask, 1)):
        for x, y in EYES:
            cv2.ellipse(picture, (x, y + 5), (42, 36), 0, 0, 360, paint, thick)
        cv2.line(picture, (170, 95), (182, 95), paint, thick)
        for a, b in (((86, 95), (40, 90)), ((266, 95), (312, 90))):
            cv2.line(picture, a, b, paint, thick)
    return cv2.GaussianBlur(strip, (0, 0), 0.7), mask


def test_a_path_follows_a_line_and_ignores_what_is_too_far_to_the_side():
    gain = np.zeros((50, 30), np.float32)
    line = np.rint(12 + 6 * np.sin(np.arange(50) / 9)).astype(int)
    gain[np.arange(50), line] = 3
    gain[20, 29] = 5
    assert (best_path(gain) == line).all()


@pytest.mark.parametrize("colour", [(40, 30, 30), (245, 240, 235)])
def test_a_frame_is_traced_dark_or_bright(colour):
    strip, mask = strip_with_frame(colour)
    found = _trace(strip, strip_landmarks())
    assert found.alpha[mask > 0].mean() > 0.85
    far = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3) > 6
    assert found.alpha[far].mean() < 0.005
    assert 2 <= found.width <= 7


def test_bare_skin_and_sunglasses_are_not_traced():
    plain = np.full((STRIP[1], STRIP[0], 3), SKIN)
    assert _trace(plain, strip_landmarks()) is None
    dark, _ = strip_with_frame()
    for x, y in EYES:
        cv2.ellipse(dark, (x, y + 5), (40, 34), 0, 0, 360, (70, 60, 60), -1)
    assert _trace(dark, strip_landmarks()) is None


def test_faces_without_glasses_have_none():
    from skimage import data

    from instaface.track.detect import detect
    from instaface.track.landmarks import find_landmarks

    photo = data.astronaut()
    found = find_landmarks(photo, detect(photo)[0])
    assert isinstance(found, Landmarks) and find_glasses(photo, found.points) is None
    small = found.points * 0.2
    assert find_glasses(cv2.resize(photo, None, fx=0.2, fy=0.2), small) is None


def test_glasses_drawn_on_a_photo_are_found():
    from skimage import data

    from instaface.track.detect import detect
    from instaface.track.landmarks import find_landmarks

    photo = data.astronaut().copy()
    points = find_landmarks(photo, detect(photo)[0]).points
    left, right = points[[33, 133, 159, 145]].mean(0), points[[263, 362, 386, 374]].mean(0)
    unit = np.linalg.norm(right - left)
    mask = np.zeros(photo.shape[:2], np.uint8)
    for eye in (left, right):
        centre = tuple(int(v) for v in np.rint(eye + np.array([0, 0.06 * unit])))
        cv2.ellipse(mask, centre, (int(0.42 * unit), int(0.34 * unit)), 0, 0, 360, 1, 2, cv2.LINE_AA)
    middle = (left + right) / 2
    for a, b in ((-0.09, 0.09), (-0.92, -1.3), (0.92, 1.3)):
        ends = [tuple(int(v) for v in np.rint(middle + np.array([x * unit, 0]))) for x in (a, b)]
        cv2.line(mask, *ends, 1, 2)
    photo[mask > 0] = (25, 20, 20)
    found = find_glasses(photo, points)
    assert found is not None
    assert found.alpha[mask > 0].mean() > 0.7 and found.alpha[cv2.dilate(mask, np.ones((13, 13))) == 0].mean() < 0.01


def test_what_is_lifted_leaves_skin_and_makes_the_photo_again():
    strip, mask = strip_with_frame()
    photo = strip.astype(np.float32)
    alpha = cv2.GaussianBlur(cv2.dilate(mask, np.ones((3, 3))).astype(np.float32), (0, 0), 0.7)
    under, picture, (person,) = lift(photo, Glasses(alpha, np.zeros((2, 1, 2)), 4.0), np.ones_like(alpha))
    assert np.abs(under - SKIN).max() < 12 and (person == 1).all()
    again = under + alpha[..., None] * (picture[..., :3] - under)
    assert np.abs(again - photo).max() < 12


@pytest.fixture(scope="module")
def model():
    return OpenHead.load()


@pytest.fixture(scope="module")
def face(model):
    """A rendered head with rims painted before its eyes."""
    parameters, camera = model.neutral(), Camera.for_photo(SIZE, SIZE)
    maps = render_maps(model, parameters, camera)
    pixels = 255 * maps.rendering.clip(0, 1) ** (1 / 2.2) * maps.mask[..., None] + 200 * (1 - maps.mask[..., None])
    pixels = pixels.astype(np.uint8)
    pixels[rims(model, camera)[0] > 0.5] = (0, 0, 255)
    return tracked_face(pixels, parameters, camera, maps.mask)


def rims(model, camera):
    """Opacity of two rings before the eyes, and their points."""
    vertices = camera.project(model.vertices(model.neutral())[0]).numpy()
    mask, points = np.zeros((SIZE, SIZE), np.uint8), []
    angle = np.linspace(0, 2 * np.pi, 60)
    centres = sorted(
        (vertices[model.regions[f"eyeball_{side}"].numpy(), :2].mean(0) for side in ("left", "right")),
        key=lambda centre: centre[0],
    )
    radius = 0.4 * (centres[1][0] - centres[0][0])
    for centre in centres:
        points.append(centre + radius * np.stack([np.cos(angle), np.sin(angle)], -1))
        cv2.polylines(mask, [np.rint(points[-1]).astype(np.int32)], True, 1, 2)
    return mask.astype(np.float32), np.array(points, np.float32)


@pytest.fixture
def worn(face, model, monkeypatch):
    """The scene of that head: the painted rims are taken for found."""
    alpha, points = rims(model, face.camera)
    monkeypatch.setattr(apart, "find_glasses", lambda pixels, landmarks: Glasses(alpha, points, 2.0))
    return take_apart(face, model)


def is_blue(pixels):
    return pixels[..., 2].astype(int) - pixels[..., 0] > 120


def blue(pixels):
    """(x, y) of the middle of what is blue, and how much there is."""
    y, x = np.nonzero(is_blue(pixels))
    return np.array([x.mean(), y.mean()]), len(x)


def test_the_skin_below_glasses_is_bare(worn):
    head = worn.head[..., :3] * worn.head[..., 3:]
    assert not is_blue(head).any() and not is_blue(worn.texture.colour).any()
    assert worn.glasses is not None


def test_glasses_stand_before_the_eyes_and_keep_their_shape(worn, face, model):
    eyes = torch.cat([model.regions["eyeball_left"], model.regions["eyeball_right"]])
    cornea = model.vertices(face.parameters)[0][eyes, 2].max()
    points, _ = place(worn.glasses, face.parameters)
    assert 0.5 < points[:, 2].max() - cornea < 4
    expression = torch.rand_like(face.parameters.expression)
    head = face.parameters.head + torch.tensor([[20.0, 5.0, -7.0]])
    moved, _ = place(worn.glasses, face.parameters.replace(expression=expression, head=head))
    centred, turned = points - points.mean(0), moved - moved.mean(0)
    assert np.allclose(centred @ centred[::37].T, turned @ turned[::37].T, atol=1e-2)
    assert not np.allclose(centred, turned, atol=1.0)


def test_turned_glasses_go_farther_than_the_eyes_behind_them(worn, face, model):
    start, drawn = blue(face.photo.pixels)
    edited = face.parameters.replace(head=face.parameters.head + torch.tensor([[15.0, 0.0, 0.0]]))
    result = draft(face, edited, model, worn)
    end, left = blue(result.pixels)
    eyes = torch.cat([model.regions["eyeball_left"], model.regions["eyeball_right"]])
    before, after = (
        face.camera.project(model.vertices(p)[0][eyes])[:, :2].mean(0).numpy() for p in (face.parameters, edited)
    )
    assert left > 0.7 * drawn  # none lost
    assert end[0] - start[0] > 1.04 * (after - before)[0] > 3


def test_an_expression_leaves_glasses_where_they_are(worn, face, model):
    expression = face.parameters.expression.clone()
    for name in ("jawOpen", "cheekSquintLeft", "cheekSquintRight"):
        expression[0, model.expression_names.index(name)] = 1
    result = draft(face, face.parameters.replace(expression=expression), model, worn)
    painted = cv2.erode(rims(model, face.camera)[0], np.ones((2, 2))) > 0.5
    changed = np.abs(result.pixels.astype(int) - face.photo.pixels)[painted].max(-1)
    assert (changed < 40).mean() > 0.97
