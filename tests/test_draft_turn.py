"""What a turn uncovers in the draft, on rendered heads with and without hair over a background of a key colour."""

import cv2
import numpy as np
import pytest
import torch

from instaface.draft import draft, kernels, take_apart
from instaface.draft.surfaces import Surfaces
from instaface.face import Camera, OpenHead
from instaface.render import render_maps
from instaface.render.maps import region_mask
from scenes import tracked_face

SIZE = 224
KEY = np.array([0, 255, 0], np.float32)
HAIR = np.array([40, 28, 22], np.float32)


@pytest.fixture(scope="module")
def model():
    return OpenHead.load()


def picture(model, parameters, camera, haired):
    """Pixels, opacity and hair of a rendered head; for ``haired``, with its scalp dark and grained."""
    maps = render_maps(model, parameters, camera)
    colour = 255 * maps.rendering.clip(0, 1) ** (1 / 2.2)
    hair = region_mask(model, maps, "scalp").astype(np.float32) * haired
    grain = np.random.default_rng(0).normal(0, 6, (SIZE, SIZE, 1))
    colour = colour + hair[..., None] * (HAIR + grain - colour)
    alpha = maps.mask[..., None]
    return (colour * alpha + KEY * (1 - alpha)).clip(0, 255).astype(np.uint8), maps, hair


@pytest.fixture(scope="module", params=[0.0, 1.0], ids=["bald", "haired"])
def head(request, model):
    """A rendered head, with its true parameters and matte, and whether it has hair."""
    parameters, camera = model.neutral(), Camera.for_photo(SIZE, SIZE)
    pixels, maps, hair = picture(model, parameters, camera, request.param)
    face = tracked_face(pixels, parameters, camera, maps.mask, np.minimum(hair, maps.mask))
    return face, take_apart(face, model), request.param


@pytest.fixture(scope="module", params=[(30, 0), (-30, 0), (0, 15)], ids=["right", "left", "up"])
def turn(request, head, model):
    """Of a turned head: the draft's pixels, the true picture, and the regions in it."""
    face, scene, haired = head
    edited = face.parameters.replace(head=face.parameters.head + torch.tensor([[*request.param, 0.0]]))
    drawn = draft(face, edited, model, scene).pixels.astype(float)
    true, maps, _ = picture(model, edited, face.camera, haired)
    return drawn, true.astype(float), maps, haired


def test_nothing_shines_through_a_turned_head(turn, model):
    drawn, _, maps, _ = turn
    inside = region_mask(model, maps, "face", "ears", "scalp")
    inside &= cv2.erode((maps.mask > 0.99).astype(np.uint8), np.ones((3, 3))) > 0  # the outline itself is soft
    green = drawn[..., 1] - drawn[..., [0, 2]].max(-1)
    assert (green[inside] > 40).sum() <= 2


def test_ears_have_the_skin_s_colour(turn, model):
    drawn, true, maps, _ = turn
    ear = region_mask(model, maps, "ears") & (maps.mask > 0.99)
    assert ear.sum() > 100
    assert np.abs(drawn[ear].mean(0) - true[ear].mean(0)).max() < 20
    assert np.percentile(np.abs(drawn[ear] - true[ear]).max(-1), 90) < 60


def test_what_was_hidden_looks_like_what_is_there(turn, model):
    drawn, true, maps, _ = turn
    inside = region_mask(model, maps, "face", "ears", "scalp") & (maps.mask > 0.99)
    assert np.abs(drawn[inside] - true[inside]).max(-1).mean() < 14


def test_the_hair_goes_on_around_the_head(turn, model):
    drawn, _, maps, haired = turn
    if not haired:
        pytest.skip("no hair on this head")
    scalp = region_mask(model, maps, "scalp") & (maps.mask > 0.99)
    assert (drawn[scalp].mean(-1) < 90).mean() > 0.93  # the hairline itself is a pixel off here and there


def test_the_background_stays_free(turn):
    drawn, _, maps, _ = turn
    away = cv2.dilate((maps.mask > 0).astype(np.uint8), np.ones((9, 9))) == 0
    away[SIZE * 2 // 3 :] = False  # the shoulders stay where they are
    green = drawn[..., 1] - drawn[..., [0, 2]].max(-1)
    assert (green[away] < 100).mean() < 0.001


def test_skin_beside_the_face_model_stays_behind_it(head, model):
    """It has a soft edge, which would show before the face; hair and ears do not lie behind."""
    _, scene, haired = head
    shell = scene.shell
    of_ears = np.isin(shell.anchor, model.regions["ears"].numpy())
    close = ((shell.follow > 0.95) & ~of_ears).astype(np.float32).reshape(shell.shape)
    close = cv2.resize(close, scene.over.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.99
    if haired:
        assert scene.over[(scene.hair > 0.99) & (scene.surface < 0.01)].min() > 0.9
    else:
        beside = (scene.bare > 0.9) & (scene.surface < 0.1) & close
        assert beside.any() and scene.over[beside].max() < 0.2


def test_skin_beside_the_face_fades_but_not_beside_ears_and_neck(head, model):
    shell = head[1].shell
    apart = np.isin(shell.anchor, np.concatenate([model.regions[name].numpy() for name in ("ears", "neck")]))
    assert apart.any() and not shell.rim[apart].any()
    assert shell.rim[~apart].any()


@pytest.mark.parametrize(("turn", "apart"), [((0, 15), (0, 1.8)), ((0, -15), (2, 20)), ((30, 15), (2, 20))])
def test_skin_before_the_background_rises_with_the_face_beside_it(head, model, turn, apart):
    face, scene, haired = head
    shell, nv = scene.shell, len(scene.vertices)
    beside = (shell.nearer[: len(shell.anchor)] < 0.97) & (np.asarray(model.head_weight)[shell.anchor] > 0.99)
    assert beside.sum() > (200 if haired else 400)  # the cheeks; of a bald head its top, too
    edited = face.parameters.replace(head=face.parameters.head + torch.tensor([[*turn, 0.0]]))
    way = Surfaces.pose(scene, edited, model).after[:, 1] - scene.start.places[:, 1]
    difference = np.abs(way[nv : nv + len(beside)][beside] - way[shell.anchor[beside]])
    assert apart[0] <= np.percentile(difference, 90) <= apart[1]


def test_skin_below_the_ears_has_no_other_side_since_the_face_model_has_its_own(head, model):
    scene = head[1]
    front, back = np.split(scene.shell.points.reshape(2, *scene.shell.shape, 3), 2)
    thick = np.linalg.norm(front - back, axis=-1)[0]
    rows = scene.camera.project(scene.vertices)[np.asarray(model.regions["ears"]), 1]
    below = slice(int(rows.max() / scene.shell.step) + 2, None)
    assert thick[below].max() < 1e-3
    assert thick[: int(rows.min() / scene.shell.step)].max() > 5


def test_what_is_foreshortened_is_as_soft_as_the_photo_and_the_rest_stays():
    """A photo of noise, blurred by the lens: shrunk to half its width it is sharper than that blur allows."""
    rng = np.random.default_rng(0)
    photo = cv2.GaussianBlur(rng.normal(128, 40, (60, 240, 3)).astype(np.float32), (0, 0), kernels.BLUR**0.5)
    x, y = np.meshgrid(np.arange(120, dtype=np.float32), np.arange(60, dtype=np.float32))
    drawn, moved = np.ones((60, 120), bool), np.zeros((60, 120), np.float32)
    drawn[:, 100:] = False

    def filtered(scale: float, still: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        colour = cv2.remap(photo, scale * x, y, cv2.INTER_LINEAR)
        out, place = colour.copy(), np.dstack([scale * x, y]) + np.float32(0.5)
        kernels.prefilter_rows(0, 60, place, drawn, still, colour, out)
        return colour, out

    before, after = filtered(2.0, moved)
    assert 0.4 < np.var(np.diff(after[:, 1:99], axis=1)) / np.var(np.diff(before[:, 1:99], axis=1)) < 0.85
    assert np.var(np.diff(after[:, 1:99], axis=0)) < np.var(np.diff(before[:, 1:99], axis=0))
    np.testing.assert_array_equal(after[:, 100:], before[:, 100:])  # nothing is drawn there
    for scale, still in ((1.0, moved), (0.5, moved), (2.0, moved + 1)):
        np.testing.assert_array_equal(*filtered(scale, still))


def test_the_lobe_of_an_ear_that_hair_hides_stays_when_the_mouth_opens(model):
    parameters, camera = model.neutral(), Camera.for_photo(SIZE, SIZE)
    pixels, maps, _ = picture(model, parameters, camera, 1.0)
    ears = region_mask(model, maps, "ears")
    rows, columns = np.nonzero(ears)
    above_lobe = np.mgrid[:SIZE, :SIZE][0] < np.quantile(rows, 0.9)
    face = region_mask(model, maps, "face", "eyes", "mouth") & ~ears
    beside = np.zeros((SIZE, SIZE), bool)
    beside[rows.min() - 20 :, columns.min() - 12 : columns.max() + 12] = True
    hair = beside & ~face & ~(ears & ~above_lobe) & ~region_mask(model, maps, "neck")
    lobes = ears & ~above_lobe
    pixels[hair] = HAIR
    person = np.maximum(maps.mask, hair)
    tracked = tracked_face(pixels, parameters, camera, person, np.minimum(hair.astype(np.float32), person))
    scene = take_apart(tracked, model)
    assert scene.hidden.any() and lobes.sum() > 20
    expression = parameters.expression.clone()
    expression[0, model.expression_names.index("jawOpen")] = 0.5
    drawn = draft(tracked, parameters.replace(expression=expression), model, scene).pixels
    # Skin of a lobe is much brighter than hair.
    assert np.median(drawn[lobes].mean(-1)) > 0.7 * np.median(pixels[lobes].mean(-1))
