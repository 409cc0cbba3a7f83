"""Hands before the face: cut out with what they hold, kept where they are, and not taken for skin."""

import cv2
import numpy as np
import pytest
from skimage import data

from instaface import Edit, Editor
from instaface.draft import apart
from instaface.draft.occluder import remove
from instaface.track import Matte
from instaface.track.hands import cut_out, find_hands

BLUE = np.array([40, 60, 190], np.uint8)


def landmarks(x, y, size):
    """(21, 2) of an open hand whose wrist is at x, y and whose fingers, ``size`` long in all, point upwards."""
    points = [(x, y)]
    for finger in range(5):
        across = (finger - 2) * 0.11 * size
        points += [(x + across * (1 + 0.15 * k), y - size * (0.45 + 0.15 * k)) for k in range(4)]
    return np.array(points, np.float32)


def drawn(picture, hand, thick):
    """Mask of a hand and the picture with it, blue and with some grain."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    points = np.rint(hand).astype(int)
    cv2.fillConvexPoly(mask, cv2.convexHull(points[[0, 1, 5, 9, 13, 17]].astype(np.int32)), 1)
    for finger in range(5):
        for k in range(4):
            ends = points[0 if k == 0 else 4 * finger + k], points[4 * finger + k + 1]
            cv2.line(mask, ends[0].tolist(), ends[1].tolist(), 1, thick)
    grain = np.random.default_rng(0).normal(0, 4, picture.shape)
    return mask, np.where(mask[..., None] > 0, (BLUE + grain).clip(0, 255), picture).astype(np.uint8)


def test_a_face_without_hands_has_none_smile_and_all():
    assert find_hands(data.astronaut()) == []


def test_a_hand_that_the_mirrored_picture_does_not_show_does_not_count(monkeypatch):
    from instaface.track import graphs

    hand, answers = landmarks(0.5, 0.6, 0.2), []
    monkeypatch.setattr(graphs, "hands", lambda _: answers.pop(0))
    picture = np.zeros((100, 100, 3), np.uint8)
    answers[:] = [[hand], []]
    assert find_hands(picture) == []
    answers[:] = [[hand], [hand * (-1, 1) + (1, 0)]]
    (found,) = find_hands(picture)
    # The network saw the picture with room around it.
    np.testing.assert_allclose(found, ((hand - 0.5) * (1 + 2 * 154 / 256) + 0.5) * 100, atol=0.2)


def test_a_hand_is_cut_out_with_what_it_holds():
    height = width = 280
    rng = np.random.default_rng(1)
    skin = (np.array([205, 160, 140]) + rng.normal(0, 4, (height, width, 3))).clip(0, 255).astype(np.uint8)
    hand = landmarks(180, 250, 130)
    mask, picture = drawn(skin, hand, 14)
    picture[mask > 0] = (picture[mask > 0] * 0.2 + np.array([150, 95, 75]) * 0.8).astype(np.uint8)  # darker skin
    picture[170:230, 128:150] = (60, 120, 60)  # held beside the palm
    mask[170:230, 128:150] = 1
    nothing = np.zeros((height, width), np.float32)
    plain = np.zeros((height, width), bool)
    plain[20:100, 40:240] = True
    alpha = cut_out(picture, [hand], Matte(nothing + 1, nothing, nothing), plain)
    assert alpha[cv2.erode(mask, np.ones((3, 3))) > 0].mean() > 0.97
    assert alpha[cv2.dilate(mask, np.ones((9, 9))) == 0].mean() < 0.01


def test_what_is_removed_leaves_what_is_around_it():
    photo = np.full((120, 120, 3), (200, 150, 120), np.float32)
    alpha = np.zeros((120, 120), np.float32)
    alpha[40:80, 40:80] = 1
    photo[alpha > 0] = BLUE
    behind, unknown, (person,) = remove(photo, alpha, 1 - alpha)
    assert np.abs(behind - (200, 150, 120)).max() < 2 and person.min() > 0.99
    assert (unknown[alpha > 0] > 0.9).all() and unknown[:30].max() < 0.01


@pytest.fixture(scope="module")
def covered():
    """A face with a blue hand before its cheek, its mask, and the editor that found it there."""
    photo = data.astronaut()
    editor = Editor()
    face = editor.track(photo)[0]
    cheek = face.landmarks[[425, 411, 434]].mean(0)
    hand = landmarks(cheek[0] + 12, cheek[1] + 32, 62)
    mask, picture = drawn(photo, hand, 7)
    patch = pytest.MonkeyPatch()
    corner = np.array([face.frame.x, face.frame.y], np.float32)
    patch.setattr(apart, "find_hands", lambda pixels: [(hand - corner) * (len(pixels) / face.frame.height)])
    yield editor, editor.track(picture)[0], mask
    patch.undo()


def blueness(pixels):
    return pixels[..., 2].astype(float) - pixels[..., 0]


@pytest.mark.parametrize("edit", [Edit(turn=25), Edit(turn=-25), Edit(nod=12), Edit(light="left")])
def test_a_hand_stays_where_it_is_and_the_face_moves_behind_it(covered, edit):
    editor, face, mask = covered
    photo, result = face.photo.pixels, editor.edit(face, edit).image.pixels
    core = cv2.erode(mask, np.ones((5, 5))) > 0
    if edit.light is None:
        assert np.abs(result[core].astype(int) - photo[core]).max() <= 2
    apart = (cv2.dilate(mask, np.ones((11, 11))) == 0) & (blueness(photo) < 30)
    x, y = face.landmarks.mean(0).astype(int)
    near = np.zeros_like(apart)
    near[y - 60 : y + 60, x - 60 : x + 60] = True
    assert (blueness(result)[apart & near] < 60).all()
    assert (np.abs(result[near & apart].astype(int) - photo[near & apart]).max(-1) > 8).mean() > 0.3


def test_an_edit_that_asks_for_nothing_leaves_the_photo(covered):
    editor, face, _ = covered
    assert (editor.edit(face, Edit()).image.pixels == face.photo.pixels).all()
