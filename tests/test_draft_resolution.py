"""Large and small photos: worked on at a resolution in between, returned at their own with their own detail."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from instaface.draft import draft, marks_of
from instaface.draft.compose import Draft
from instaface.draft.resolution import at_own_resolution
from instaface.face import OpenHead
from instaface.track import track
from instaface.track.tracked import SMALLEST, WORKING


@pytest.fixture(scope="module")
def model():
    return OpenHead.load()


@pytest.fixture(scope="module")
def face():
    """The astronaut four times as large, with a fine grain that no smaller picture can hold."""
    large = cv2.resize(data.astronaut()[:400], None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC).astype(int)
    large[::2, ::2] += 24
    large[1::2, 1::2] -= 24
    return track(large.clip(0, 255).astype(np.uint8), faces=1)[0]


def grain(pixels):
    """(H, W) float32, how fine the detail is around each pixel."""
    light = pixels.astype(np.float32).mean(-1)
    return cv2.blur(np.abs(light - cv2.GaussianBlur(light, (0, 0), 1)), (31, 31))


def test_layers_are_made_at_the_working_resolution(face):
    work = face.working
    assert max(face.frame.width, face.frame.height) > WORKING
    assert max(work.frame.width, work.frame.height) == WORKING
    assert work.frame_pixels.shape[:2] == work.matte.person.shape
    scale = work.frame.width / face.frame.width
    points = model_points(face)
    small = work.camera.project(points)[:, :2]
    large = face.frame_camera.project(points)[:, :2]
    assert np.allclose(small, large * scale, atol=0.2)
    assert work.working is work


def test_what_an_edit_does_not_touch_is_the_photo(face):
    work = face.working
    shape = (work.frame.height, work.frame.width)
    mask, flat = np.zeros(shape, np.float32), np.full_like(work.frame_pixels, 128)
    mask[200:300, 400:500] = 1
    source = np.zeros((*shape, 2), np.float32)
    large = at_own_resolution(Draft(flat, flat, mask, mask, source), work, face)
    changed = (large.pixels != face.frame_pixels).any(-1)
    assert 100 < np.sqrt(changed.sum()) * shape[1] / face.frame.width < 108
    assert (large.pixels[large.mask == 0] == face.frame_pixels[large.mask == 0]).mean() > 0.99


def model_points(face):
    vertices = OpenHead.load().vertices(face.parameters)[0]
    return vertices[:: len(vertices) // 50]


def test_a_turned_face_keeps_the_grain_of_a_large_photo(face, model):
    edited = face.parameters.replace(head=face.parameters.head + np.array([[10, 0, 0]], np.float32))
    result = draft(face, edited, model)
    assert result.pixels.shape == face.frame_pixels.shape
    seen = (result.coverage > 0.99) & (result.mask == 1)
    assert seen.mean() > 0.05
    kept = grain(result.pixels)[seen].mean() / grain(face.frame_pixels).mean()
    plain = draft(face.working, edited, model).pixels
    plain = cv2.resize(plain, face.frame_pixels.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    lost = grain(plain)[seen].mean() / grain(face.frame_pixels).mean()
    assert kept > 0.6 > 0.45 > lost


def test_what_stays_is_the_photo_and_what_is_invented_has_no_foreign_detail(face):
    work = face.working
    height, width = work.frame.height, work.frame.width
    own = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).astype(np.float32)
    whole = np.ones((height, width), np.float32)
    coverage = whole.copy()
    coverage[: height // 2] = 0
    still = Draft(work.frame_pixels, work.frame_pixels, coverage, whole, own)
    large = at_own_resolution(still, work, face)
    lower, upper = np.s_[face.frame.height // 2 + 8 :], np.s_[: face.frame.height // 2 - 8]
    assert np.abs(large.pixels[lower].astype(int) - face.frame_pixels[lower]).mean() < 1.5
    smooth = cv2.resize(work.frame_pixels, (face.frame.width, face.frame.height), interpolation=cv2.INTER_CUBIC)
    assert np.abs(large.pixels[upper].astype(int) - smooth[upper]).mean() < 1.5


def test_no_detail_is_carried_across_a_tear(face):
    work = face.working
    height, width = work.frame.height, work.frame.width
    source = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).astype(np.float32)
    source[:, width // 2 :, 0] -= width // 4
    whole = np.ones((height, width), np.float32)
    flat = np.full_like(work.frame_pixels, 128)
    large = at_own_resolution(Draft(flat, flat, whole, whole, source), work, face)
    torn = face.frame.width // 2
    assert grain(large.pixels[:, torn - 200 : torn - 100]).mean() > 4
    assert np.abs(large.pixels[:, torn - 1 : torn + 1].astype(int) - 128).mean() < 1


def test_photos_of_the_working_resolution_are_worked_on_as_they_are(face):
    medium = replace(face.working)
    assert medium.working is medium


@pytest.fixture(scope="module")
def small_face():
    """The astronaut at less than half of the size."""
    return track(cv2.resize(data.astronaut()[:400], None, fx=0.45, fy=0.45, interpolation=cv2.INTER_AREA), faces=1)[0]


def test_small_photos_are_worked_on_larger(small_face, model):
    work = small_face.working
    assert (
        max(small_face.frame.width, small_face.frame.height)
        < 250
        < max(work.frame.width, work.frame.height)
        == SMALLEST
    )
    assert work.frame_pixels.shape[:2] == work.matte.person.shape
    result = draft(small_face, small_face.parameters, model)
    untouched = result.mask == 0
    assert untouched.all() and (result.pixels == small_face.frame_pixels)[untouched].all()


def test_what_is_drawn_in_a_small_photo_has_soft_edges_and_what_stays_is_the_photo(small_face):
    work = small_face.working
    height, width = work.frame.height, work.frame.width
    own = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).astype(np.float32)
    painted = np.hypot(*np.moveaxis(own - (width / 2, height / 2), -1, 0)) < 100
    pixels = np.where(painted[..., None], np.uint8(255), work.frame_pixels)
    drawn = Draft(pixels, pixels, (~painted).astype(np.float32), np.ones((height, width), np.float32), own)
    result = at_own_resolution(drawn, work, small_face)
    share = cv2.resize(painted.astype(np.float32), result.pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    before, after = small_face.frame_pixels.astype(float), result.pixels.astype(float)
    assert np.abs(after - before)[share == 0].max() <= 1
    edge = (share > 0.2) & (share < 0.8)
    assert edge.sum() > 100
    between = before + share[..., None] * (255 - before)
    assert np.abs(after - between)[edge].mean() < 8


@pytest.mark.parametrize("which", ["face", "small_face"])
def test_marks_are_over_the_frame_whatever_the_working_resolution(which, request, model):
    found = request.getfixturevalue(which)
    marks = marks_of(found, model)
    assert marks.shape == found.frame_pixels.shape and marks.any()
