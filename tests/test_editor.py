"""The one call that everything makes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from instaface import Edit, Editor
from instaface.editor import choose
from instaface.errors import InstaFaceError
from instaface.photo import read_photo


@pytest.fixture(scope="module")
def editor():
    return Editor()


@pytest.fixture(scope="module")
def face(editor):
    return editor.track(astronaut()[:320, 60:380])[0]


def test_an_edit_reports_what_it_did(editor, face):
    result = editor.edit(face, Edit(yaw=-20, expression="neutral", light="left"))
    height, width = face.frame.height, face.frame.width
    assert result.image.pixels.shape == face.photo.pixels.shape and result.image.pixels.dtype == np.uint8
    assert result.draft.shape == result.appearance.shape == (height, width, 3)
    assert result.coverage.shape == result.mask.shape == (height, width)
    assert result.coverage.min() >= 0 and result.coverage.max() <= 1
    assert float(result.parameters.head[0, 0]) == -20
    assert not result.parameters.expression.any()
    np.testing.assert_array_equal(result.parameters.identity, face.parameters.identity)
    assert result.maps.mask.shape == (height, width) and result.maps.mask.max() == 1
    assert set(result.timings) == {"apply", "take apart", "draft", "diffusion", "composite"}


def test_pixels_outside_of_the_edit_stay_to_the_bit(editor, face):
    result = editor.edit(face, Edit(turn=12))
    mask = np.zeros(face.photo.pixels.shape[:2], np.float32)
    mask[face.frame.y :, face.frame.x :][: face.frame.height, : face.frame.width] = result.mask
    np.testing.assert_array_equal(result.image.pixels[mask == 0], face.photo.pixels[mask == 0])
    assert 0.02 < (mask > 0).mean() < 0.9
    assert (result.image.pixels != face.photo.pixels).any()


@pytest.mark.parametrize("nothing", [Edit(), Edit(turn=0, expression={}), "own parameters"])
def test_an_edit_that_asks_for_nothing_returns_the_photo(editor, face, nothing, tmp_path):
    edit = face.parameters if nothing == "own parameters" else nothing
    result = editor.edit(face, edit)
    assert result.image.pixels is face.photo.pixels
    assert result.coverage.min() == 1 and result.mask.max() == 0
    np.testing.assert_array_equal(read_photo(result.image.save(tmp_path / "x.png")).pixels, face.photo.pixels)


def test_the_same_edit_twice_is_the_same_picture(editor, face):
    edit = Edit(yaw=15, expression="smile")
    first, other, again = (editor.edit(face, e).image.pixels for e in (edit, Edit(pitch=9), edit))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_cut_out_head_takes_its_transparency_along(editor, face, tmp_path):
    frame, alpha = face.frame, np.zeros(face.photo.pixels.shape[:2], np.uint8)
    person = cv2.resize(face.matte.person, (frame.width, frame.height))
    alpha[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width] = 255 * person
    cut_out = replace(face, photo=replace(face.photo, alpha=alpha))
    image = editor.edit(cut_out, Edit(turn=20)).image
    assert (image.alpha != alpha).mean() > 0.01  # it moved
    assert image.alpha.mean() == pytest.approx(alpha.mean(), rel=0.15)  # it is still as much of the picture
    back = read_photo(image.save(tmp_path / "x.png"))
    np.testing.assert_array_equal(back.alpha, image.alpha)
    both = editor.edit_all([cut_out, cut_out], Edit(turn=5))
    assert both[-1].image.alpha.shape == alpha.shape and both[-1].image.original is cut_out.photo


def test_all_faces_of_a_photo_are_edited_in_one_picture(editor):
    pixels = astronaut()[:320, 60:380]
    faces = editor.track(np.hstack([pixels, pixels[:, ::-1]]))
    assert len(faces) == 2
    alone = [editor.edit(face, Edit(turn=10)).image.pixels for face in faces]
    results = editor.edit_all(faces, Edit(turn=10))
    for half in (np.s_[:, :200], np.s_[:, 440:]):  # away from the seam each half is as if edited alone
        both = results[-1].image.pixels[half]
        assert any((both == picture[half]).all() and (both != faces[0].photo.pixels[half]).any() for picture in alone)
    assert results[-1].image.original is faces[0].photo
    with pytest.raises(InstaFaceError, match="no face"):
        editor.edit_all([], Edit())


def test_sequences_begin_and_end_with_the_two_edits(editor, face):
    results = editor.sequence(face, Edit(), Edit(yaw=20), 3)
    assert results[0].image.pixels is face.photo.pixels
    np.testing.assert_array_equal(results[2].image.pixels, editor.edit(face, Edit(yaw=20)).image.pixels)


def test_a_face_driven_by_itself_does_not_change(editor, face):
    assert editor.edit(face, Edit(), driver=face).image.pixels is face.photo.pixels


def test_unknown_renderers_and_faces_are_refused(editor, face):
    with pytest.raises(InstaFaceError, match="unknown name 'magic', allowed are geometric, diffusion"):
        editor.edit(face, Edit(yaw=3), renderer="magic")
    with pytest.raises(InstaFaceError, match="no face found"):
        choose([], "largest")
    assert choose([face], "all") == choose([face], "0") == choose([face], "largest") == [face]
