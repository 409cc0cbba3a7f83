"""The unwrapped skin: what is mirrored, what is not trusted, what is dark, and what hair hides."""

import numpy as np
import pytest

from instaface.draft.nostrils import nostrils
from instaface.draft.relief import _behind_the_face
from instaface.draft.skin import _cloth, _hairy
from instaface.draft.texture import Back, complete
from instaface.draft.view import Parts, without_rim
from instaface.face import OpenHead
from instaface.track.hair import CHIN, EYE_CORNERS, FACE_OVAL, FOREHEAD, INSIDE, _place

SIZE = 512


@pytest.fixture(scope="module")
def model():
    return OpenHead.load()


def _completed(colour, seen):
    skin, nothing = np.ones((SIZE, SIZE), bool), np.zeros((SIZE, SIZE), np.float32)
    return complete(colour, seen, nothing, skin, np.ones_like(colour), [], nothing).colour


def test_mirrored_skin_joins_without_a_border():
    """The right half is darker and redder in its lower part; of it, only what is close to the middle was seen."""
    light = np.where(np.arange(SIZE) < SIZE // 2, 1, 0.8)[None, :, None] * np.array([1, 0.96, 0.96])
    colour = np.broadcast_to([180.0, 140.0, 120.0] * light, (SIZE, SIZE, 3)).astype(np.float32)
    colour = colour * np.linspace(1.1, 0.9, SIZE, dtype=np.float32)[:, None, None]
    seen = np.broadcast_to(np.arange(SIZE) < 330, (SIZE, SIZE)).astype(np.float32)
    drawn = _completed(np.where(seen[..., None] > 0, colour, 0), seen)
    assert np.abs(drawn[100:400, 325:400] - colour[100:400, 325:400]).max() < 4


def test_no_hair_grows_on_lids():
    colour, skin = np.full((SIZE, SIZE, 3), 180, np.float32), np.ones((SIZE, SIZE), bool)
    lid, haired = np.zeros((SIZE, SIZE), np.float32), np.zeros((SIZE, SIZE), np.float32)
    lid[200:240, 100:160], haired[200:240, 20:100] = 1, 1  # a fringe beside a folded lid, and the same on the right
    lid, haired = np.maximum(lid, lid[:, ::-1]), np.maximum(haired, haired[:, ::-1])
    colour[haired > 0] = 20
    drawn = [
        complete(colour, 1 - lid - haired, haired, skin, np.ones_like(colour), [], bald).colour[220, 104, 0]
        for bald in (lid, 0 * lid)
    ]
    assert drawn[0] > 150 > drawn[1]


def test_the_back_of_a_head_has_the_strands_of_its_hair_even_where_skin_is_nearer():
    colour, skin = np.full((SIZE, SIZE, 3), 180, np.float32), np.zeros((SIZE, SIZE), bool)
    strands = np.random.default_rng(0).uniform(20, 60, (SIZE, SIZE, 3)).astype(np.float32)
    haired, seen, share, nothing = np.zeros((4, SIZE, SIZE), np.float32)
    haired[:100], seen[100:200], share[200:] = 1, 1, 1
    colour[:100] = 70
    given = colour, seen, haired, skin, np.ones_like(colour), [], nothing
    hairy, bald = (complete(*given, Back(share, strands, hairy)).colour for hairy in (1.0, 0.0))
    assert np.abs(hairy[200:] - strands[200:]).max() < 0.01 and bald[200:].min() > 150
    assert np.array_equal(hairy[:200], bald[:200])


def test_the_back_of_a_bald_head_does_not_shine_as_its_edge_does():
    colour, skin = np.full((SIZE, SIZE, 3), 120, np.float32), np.zeros((SIZE, SIZE), bool)
    haired, share, nothing = np.zeros((3, SIZE, SIZE), np.float32)
    haired[:200], share[200:] = 1, 1
    given = colour, nothing, haired, skin, np.ones_like(colour), [], nothing
    drawn = complete(*given, Back(share, 2 * colour, 1.0)).colour
    assert np.abs(drawn[260:] - 120).max() < 5


@pytest.mark.parametrize("skin", [(225, 180, 160), (110, 70, 50)])
def test_dark_cloth_is_told_from_skin_and_skin_in_shadow_is_not(skin):
    even, face = np.full((60, 60, 3), skin, np.float32), np.zeros((60, 60), np.float32)
    face[:20] = 1
    even[20:40], even[40:] = 0.5 * even[20:40], 0.25 * np.mean(skin) * np.array([0.8, 0.95, 1.2])
    cloth = _cloth(even, face)
    assert cloth[:37].max() < 0.05 and cloth[43:].min() > 0.9


def test_whether_a_scalp_is_hairy_is_told_by_what_is_seen_of_it():
    ones = np.ones(100, np.float32)
    assert _hairy(ones, 0.2 * ones) == 1 and _hairy(0.1 * ones, ones) == 0 and _hairy(0 * ones, 0 * ones) == 0
    assert 0 < _hairy(0.8 * ones, ones) < 1


def test_skin_is_not_trusted_where_one_part_stands_before_another():
    bare, depth = np.ones((200, 200), np.float32), np.full((200, 200), 60, np.float32)
    depth[:, 100:] = 64  # a cheek behind a nose
    core = without_rim(bare, depth, focal=1000.0)
    assert core[100, 100] < 0.05 and core[100, 70] > 0.99 and core[100, 130] > 0.99
    slope = np.broadcast_to(np.linspace(60, 70, 200, dtype=np.float32), (200, 200))
    assert without_rim(bare, np.ascontiguousarray(slope), focal=1000.0).min() > 0.99


def test_nostrils_are_two_holes_in_the_lower_nose(model):
    deep = nostrils(model) > 0.9
    assert not np.setdiff1d(np.flatnonzero(deep), model.regions["nose"].numpy()).size
    points = model.vertices(model.neutral())[0].numpy()
    nose = points[model.regions["nose"].numpy()]
    middle = (nose[:, 1].min() + nose[:, 1].max()) / 2
    for side in (-1, 1):
        hole = points[deep & (side * points[:, 0] > 0)]
        assert len(hole) > 20 and (hole[:, 1] < middle).all() and (np.abs(hole[:, 0]) > 0.1).all()
        assert hole[:, 2].max() < nose[:, 2].max() - 0.5  # not the tip


@pytest.mark.parametrize(("skin", "expected"), [(1, 0.5), (8, 0.0)], ids=["an outline that is off", "an ear"])
def test_hair_that_hangs_beside_the_face_goes_on_behind_it(skin, expected):
    """A face, some cells of skin that the face model does not cover, hair beside them."""
    column = np.broadcast_to(np.arange(60), (20, 60))
    face, hair = column >= 30, (column < 30 - skin).astype(np.float32)
    share = _behind_the_face(face & (column < 40), face, hair, np.ones((20, 60), np.float32))
    np.testing.assert_allclose(share[:, 30:40], expected)
    np.testing.assert_allclose(share[:, :30], hair[:, :30])


def test_skin_is_learned_well_inside_of_the_face():
    """Landmarks of a head in profile: half of its face is a line, beside which there is hair."""
    rng = np.random.default_rng(0)
    landmarks = rng.uniform(100, 200, (478, 2)).astype(np.float32)
    angle = np.linspace(-np.pi / 2, 1.5 * np.pi, len(FACE_OVAL), endpoint=False)
    oval = np.stack([150 + 50 * np.cos(angle), 150 + 70 * np.sin(angle)], -1)
    oval[:, 0] = np.minimum(oval[:, 0], 160)
    landmarks[list(FACE_OVAL)] = oval
    landmarks[FOREHEAD], landmarks[CHIN] = (150, 80), (150, 220)
    landmarks[list(EYE_CORNERS)] = [(120, 130), (160, 130)]
    place = _place(landmarks, (300, 300), None)
    for patch in place.patches:
        assert place.outside[patch].max(initial=-1) < -INSIDE


def test_no_white_of_the_eye_is_painted_like_an_iris():
    model = OpenHead.load()
    irises = np.concatenate([model.regions[f"iris_{side}"].numpy() for side in ("left", "right")])
    assert np.isin(model.faces.numpy()[Parts.of(model).irises], irises).all()
