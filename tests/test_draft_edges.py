"""Outlines in the geometric edit: what an edit does not concern stays, and what is soft stays soft."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from instaface.draft import draft, take_apart
from instaface.draft.apart import _body, _resting
from instaface.draft.carry import Layer
from instaface.draft.compose import _holes, _seams, compose, follow_outline, soften_seams
from instaface.face import Camera, OpenHead
from instaface.photo import Photo
from instaface.render import render_maps
from scenes import tracked_face

SIZE = 256
HAIR = np.array([40, 30, 25], np.float32)


@pytest.fixture(scope="module")
def model():
    return OpenHead.load()


@pytest.fixture(scope="module")
def background():
    """(H, W, 3): a bright wall with a gradient and some grain."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(190, 215, SIZE, dtype=np.float32)[None, :, None] * np.array([0.9, 1, 1.05], np.float32)
    return ramp + rng.normal(0, 1.5, (SIZE, SIZE, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def face(model, background):
    """A rendered head with hair around it whose opacity falls to nothing over 12 pixels, over a bright wall."""
    parameters = model.neutral()
    camera = Camera.for_photo(SIZE, SIZE)
    maps = render_maps(model, parameters, camera)
    row = np.arange(SIZE, dtype=np.float32)[:, None]
    away = cv2.distanceTransform((maps.mask < 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    hair = ((18 - away) / 12).clip(0, 1) * (maps.mask < 0.5) * ((0.5 * SIZE - row) / 12).clip(0, 1)
    hair = np.maximum(hair, maps.mask * (row < 0.3 * SIZE)).astype(np.float32)
    person = np.maximum(maps.mask, hair).astype(np.float32)
    skin = 255 * maps.rendering.clip(0, 1) ** (1 / 2.2)
    pixels = background + maps.mask[..., None] * (skin - background)
    pixels = pixels + hair[..., None] * (HAIR - pixels)
    return tracked_face(pixels.clip(0, 255).round().astype(np.uint8), parameters, camera, person, hair)


@pytest.fixture(scope="module")
def scene(face, model):
    return take_apart(face, model)


def expressed(face, model, **weights):
    expression = face.parameters.torch().expression.clone()
    for name, weight in weights.items():
        expression[0, model.expression_names.index(name)] = weight
    return face.parameters.replace(expression=expression)


def around_what_moves(model, face, edited, reach):
    """(H, W) bool: within ``reach`` pixels of vertices that move by a quarter of a pixel."""
    project = face.frame_camera.project
    before, after = (project(np.asarray(model.vertices(p)[0])) for p in (face.parameters, edited))
    moved = np.abs(after - before)[:, :2].max(1) > 0.25
    touched = np.zeros((face.frame.height, face.frame.width), np.uint8)
    for x, y in np.concatenate([before[moved, :2], after[moved, :2]]).astype(int):
        cv2.circle(touched, (int(x), int(y)), reach, (1,), -1)
    return touched > 0


def left_light(face):
    from instaface.face.light import direction_from_angles, directional

    direction = direction_from_angles(torch.tensor([-60.0]), torch.tensor([0.0]))
    return face.parameters.replace(light=directional(direction, torch.ones(1), torch.ones(1) / 4))


def opacity_seen(pixels, background):
    """(H, W) how much hair lies before the wall, by the colours of a picture."""
    way = HAIR - background
    return ((pixels - background) * way).sum(-1) / (way**2).sum(-1)


@pytest.mark.parametrize("weights", [{"jawOpen": 1.0}, {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, {"browInnerUp": 1}])
def test_an_expression_leaves_all_but_the_face_to_the_bit(face, scene, model, weights):
    edited = expressed(face, model, **weights)
    result = draft(face, edited, model, scene)
    outside = ~around_what_moves(model, face, edited, reach=SIZE // 16)
    assert outside.mean() > 0.5 and (face.matte.hair[outside] > 0.5).sum() > 500
    assert (result.pixels[outside] == face.frame_pixels[outside]).all()
    assert (result.mask[outside] == 0).all()
    assert (result.pixels != face.frame_pixels).any()


def test_an_expression_of_a_photo_leaves_its_hair_and_background_to_the_bit(model):
    from skimage import data

    from instaface.track import track

    (face,) = track(data.astronaut())
    edited = expressed(face, model, jawOpen=0.8, eyeBlinkLeft=1.0)
    result = draft(face, edited, model)
    outside = ~around_what_moves(model, face, edited, reach=face.frame.width // 12)
    hair = cv2.resize(face.matte.hair, (face.frame.width, face.frame.height))
    assert (hair[outside] > 0.5).sum() > 3000
    assert (result.pixels[outside] == face.frame_pixels[outside]).all()


def test_a_hole_in_what_has_moved_is_closed_by_what_is_around_it_and_not_by_the_photo(scene):
    height, width = scene.depth.shape
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot(rows - height // 2, columns - width // 2)
    ring = ((away < 60) & (away > 10)).astype(np.float32)
    nothing, plain = np.zeros_like(ring), np.zeros((height, width, 3), np.float32)
    depth = np.where(ring > 0, np.float32(50), np.inf)
    whole = slice(0, height), slice(0, width)
    layer = Layer(
        whole, np.float32([10, 20, 200]) + plain, ring, ring, nothing, plain + 1, depth, ring, scene.positions.copy()
    )
    layers, gone = [layer, Layer.nothing()], np.ones_like(ring)
    drawn = compose(scene, layers, Layer.nothing(), gone, [layer], outlined=[])
    left, top = scene.margins[:2]
    middle = drawn.pixels[height // 2 - top, width // 2 - left]
    assert np.abs(middle.astype(int) - (10, 20, 200)).max() <= 2


def test_two_halves_of_a_pixel_show_nothing_of_what_is_behind_skin_that_goes_on(scene):
    height, width = scene.depth.shape
    away = np.abs(np.arange(width) - width // 2)[None] + np.zeros((height, 1))
    plain, here = np.zeros((height, width, 3), np.float32), np.full((height, width), 50, np.float32)
    whole, still = (slice(0, height), slice(0, width)), np.zeros((height, width), np.float32)

    def layer(colour, alpha):
        alpha = alpha.astype(np.float32)
        return Layer(
            whole, np.float32(colour) + plain, alpha, alpha, still, plain + 1, here, alpha, scene.positions + 9
        )

    middle = np.arange(width)[None] + np.zeros((height, 1)) - width // 2
    hair = layer([10, 10, 10], np.ones((height, width)))
    neck, face = (layer([200, 150, 120], np.where(away == 0, 0.5, side)) for side in (middle < 0, middle > 0))
    drawn = compose(scene, [hair, neck, face], Layer.nothing(), 1 - still, [face], outlined=[neck, face])
    below = np.flatnonzero(scene.features.any(1)).max() + 20 - scene.margins[1]  # eyes and lips stay sharp
    assert np.abs(drawn.pixels[below:-5].astype(int) - (200, 150, 120)).max() <= 2


def test_new_light_fades_out_with_the_hair(face, scene, model, background):
    result = draft(face, left_light(face), model, scene)
    wall = face.matte.person == 0
    assert (result.pixels[wall] == face.frame_pixels[wall]).all()
    assert np.abs(result.pixels[~wall].astype(int) - face.frame_pixels[~wall]).max() > 20
    # Hair keeps its opacity: where it is half transparent the wall shines through as it did.
    soft = (face.matte.hair > 0.2) & (face.matte.hair < 0.8) & (face.matte.person == face.matte.hair)
    error = opacity_seen(result.pixels, background) - face.matte.hair
    assert soft.sum() > 500 and np.abs(error[soft]).mean() < 0.06  # hair's own new light is in it


@pytest.mark.parametrize(("turn", "tolerance"), [((3.0, 0.0), 0.3), ((12.0, 0.0), 0.5), ((0.0, 8.0), 0.5)])
def test_a_soft_outline_stays_soft_when_the_head_turns(face, scene, model, background, turn, tolerance):
    edited = face.parameters.replace(head=face.parameters.head + torch.tensor([[*turn, 0.0]]))
    result = draft(face, edited, model, scene)
    rows = np.s_[: int(0.4 * SIZE)]
    bare = [render_maps(model, p, face.camera).mask[rows] < 0.01 for p in (face.parameters, edited)]
    pictures = face.frame_pixels, result.pixels
    was, now = (opacity_seen(p, background)[rows][b] for p, b in zip(pictures, bare, strict=True))
    edges = np.linspace(0.1, 0.9, 5)
    expected, found = (np.histogram(opacity, edges)[0] for opacity in (was, now))
    assert expected.min() > 100
    assert (np.abs(found / expected - 1) < tolerance).all()


def test_nothing_of_the_person_remains_in_the_background(face, model, background):
    """Stray hairs that the matte knows little of, and spots close by, are not continued behind the head."""
    rng = np.random.default_rng(1)
    pixels, person = face.frame_pixels.copy(), face.matte.person.copy()
    inside = np.argwhere(cv2.dilate(person, np.ones((9, 9))) > 0.5)
    for _ in range(60):
        (y, x), angle = inside[rng.integers(len(inside))], rng.uniform(0, 2 * np.pi)
        end = int(np.clip(x + 26 * np.cos(angle), 0, SIZE - 1)), int(np.clip(y + 26 * np.sin(angle), 0, SIZE - 1))
        cv2.line(pixels, (int(x), int(y)), end, HAIR.tolist(), 1, cv2.LINE_AA)
        cv2.line(person, (int(x), int(y)), end, (0.04,), 1, cv2.LINE_AA) if person[end[::-1]] == 0 else None
    person = np.maximum(person, face.matte.person)
    strewn = replace(face, photo=Photo(pixels), matte=replace(face.matte, person=person))
    plate = take_apart(strewn, model).plate
    around = cv2.dilate(face.matte.person, np.ones((41, 41))) > 0.5
    error = np.abs(plate - background)[around]
    assert error.mean() < 4 and np.percentile(error, 99) < 12
    grain = (plate - cv2.GaussianBlur(plate, (0, 0), 3))[
        cv2.erode((face.matte.person < 0.02) * 1.0, np.ones((9, 9))) > 0
    ]
    assert 0.7 < grain.std() / 1.5 < 1.3


def test_no_stray_hair_stays_behind_when_the_head_tilts(face, scene, model, background):
    """The wall that a tilt uncovers is bare, though hair of any faintness was before it."""
    edited = face.parameters.replace(head=face.parameters.head + torch.tensor([[0.0, 0.0, 20.0]]))
    result = draft(face, edited, model, scene)
    rows, columns = np.s_[: SIZE // 3], np.s_[:]
    now = cv2.dilate(render_maps(model, edited, face.camera).mask, np.ones((39, 39)))[rows, columns] > 0
    left = (face.matte.person[rows, columns] > 0.3) & ~now
    assert left.sum() > 100
    assert np.abs(opacity_seen(result.pixels, background)[rows, columns][left]).max() < 0.1


def test_loose_hair_has_the_colour_of_hair_not_of_skin_or_wall(scene, face):
    soft = (face.matte.hair > 0.05) & (face.matte.hair < 0.9) & (face.matte.person == face.matte.hair)
    assert np.abs(scene.head[..., :3][soft] - HAIR).mean() < 8


def test_loose_hair_is_looked_up_along_hair_and_not_along_skin(face, scene):
    solid = scene.person > 0.5
    _, near = follow_outline(scene, solid, scene.positions)
    contour = solid & (cv2.erode(solid.astype(np.uint8), np.ones((3, 3)), borderValue=1) == 0)
    rows = np.arange(len(solid))[:, None] - scene.margins[1]
    hair, skin = (contour & high for high in (rows < 0.3 * SIZE, rows > 0.65 * SIZE))
    assert hair.sum() > 100 and skin.sum() > 50
    assert near[hair].min() > 0.9 and near[skin].max() < 0.1


def test_skin_with_a_way_of_its_own_does_not_divert_the_hair_beside_it(scene):
    solid, source = scene.person > 0.5, scene.positions.copy()
    source[scene.hair < 0.5, 1] += 30  # what comes into view below the hair was elsewhere
    shift, near = follow_outline(scene, solid, source)
    contour = solid & (cv2.erode(solid.astype(np.uint8), np.ones((3, 3)), borderValue=1) == 0)
    hair = contour & (scene.hair > 0.5) & (near > 0.5)
    assert hair.sum() > 100 and np.abs(shift[hair]).max() < 3


def cut_at(face, column):
    """The face in a photo that ends at a column."""
    person, hair = (np.ascontiguousarray(mask[:, :column]) for mask in (face.matte.person, face.matte.hair))
    pixels = np.ascontiguousarray(face.frame_pixels[:, :column])
    camera = face.camera.crop(0, 0, column, SIZE, (column, SIZE))
    return tracked_face(pixels, face.parameters, camera, person, hair)


def test_no_loose_hair_grows_on_skin_that_the_photo_does_not_show(scene):
    """Such as a hidden ear: where it was, the photo shows the hair before it."""
    solid = scene.person > 0.5
    shown = follow_outline(scene, solid, scene.positions, np.zeros_like(solid))[1]
    assert follow_outline(scene, solid, scene.positions, np.ones_like(solid))[1].max() < 0.01 < shown.max()


def test_hair_that_the_photo_cuts_ends_beyond_it_as_hair_does(face, model):
    person = face.matte.person
    column = int(np.flatnonzero((face.matte.hair > 0.9).any(0)).max()) - 5
    cut = cut_at(face, column)
    taken = take_apart(cut, model)
    beyond = taken.hair[:, column:]
    assert person[:, column - 1].max() > 0.9 and taken.margins[2] > 0
    assert (taken.person[:, -1] == 0).all() and (beyond > 0.5).any(0)[:2].all()
    assert ((beyond > 0.5).sum(0) == np.sort((beyond > 0.5).sum(0))[::-1]).all()  # it narrows
    assert (beyond[person[:, column - 1] < 0.1] == 0).all()  # nothing where the border cuts no hair


def test_hair_beyond_the_border_is_the_photos_hair_mirrored(face, model):
    column = 5 * SIZE // 8
    cut, far = cut_at(face, column), 3
    colours = take_apart(cut, model).head[..., :3][-SIZE:]
    hair = cv2.erode(face.matte.hair[:, :column], np.ones((9, 9)))[:, column - 1 - far] > 0.9
    beyond, within = colours[:, column - 1 + far][hair], colours[:, column - 1 - far][hair]
    assert hair.sum() > 5 and np.abs(beyond - within).max() < 3


def sized(model, background, pixels):
    """A rendered bald head that is as many pixels wider, or narrower, than the face model, and its photo."""
    parameters = model.neutral()
    camera = Camera.for_photo(SIZE, SIZE)
    maps = render_maps(model, parameters, camera)
    grow = cv2.dilate if pixels > 0 else cv2.erode
    person = grow(maps.mask, np.ones((1, 2 * abs(pixels) + 1)))
    skin = np.where(maps.mask[..., None] > 0, 255 * maps.rendering.clip(0, 1) ** (1 / 2.2), (200, 150, 130))
    photo = background + person[..., None] * (skin - background)
    return tracked_face(photo.clip(0, 255).round().astype(np.uint8), parameters, camera, person), maps.mask


def test_skin_is_not_drawn_where_the_photo_shows_the_wall(model, background):
    face, model_mask = sized(model, background, -6)
    result = draft(face, expressed(face, model, jawOpen=0.5), model)
    wall = (model_mask > 0) & (cv2.dilate(face.matte.person, np.ones((5, 5))) == 0)
    wall[int(0.6 * SIZE) :] = False  # the chin goes down over it
    assert wall.sum() > 200
    assert np.abs(result.pixels[wall].astype(int) - face.photo.pixels[wall]).max() < 12


def test_skin_beside_the_face_model_stays_when_the_mouth_opens(model, background):
    face, model_mask = sized(model, background, 6)
    result = draft(face, expressed(face, model, jawOpen=0.5), model)
    beside = (cv2.erode(face.matte.person, np.ones((5, 5))) > 0) & (cv2.dilate(model_mask, np.ones((3, 3))) == 0)
    assert beside.sum() > 200
    assert np.quantile(result.pixels[beside][:, 2], 0.95) < 133  # skin has 130 of blue, the wall 200


@pytest.mark.parametrize("yaw", [25, -25])
def test_a_neck_wider_than_the_face_models_leaves_nothing_behind_when_the_head_turns(model, background, yaw):
    face, model_mask = sized(model, background, 8)
    person, columns = np.zeros_like(face.matte.person), np.arange(SIZE)
    pixels = background.round().astype(np.uint8)
    for row in np.flatnonzero((model_mask > 0.99).any(1)):  # from the jaw down, its skin goes on sideways
        first, last = np.flatnonzero(model_mask[row] > 0.99)[[0, -1]]
        wider = round(float(np.interp(row, [0.83 * SIZE, 0.93 * SIZE], [0, 8])))
        inside = slice(first - wider, last + wider + 1)
        person[row, inside] = 1
        pixels[row, inside] = face.photo.pixels[row, columns.clip(first, last)][inside]
    face = tracked_face(pixels, face.parameters, face.camera, person)
    turn = torch.tensor([[float(yaw), 0.0, 0.0]])
    drawn = draft(face, face.parameters.replace(head=face.parameters.head + turn), model).pixels.astype(int)
    skin = cv2.medianBlur((drawn[..., 0] - drawn[..., 2] > 10).astype(np.uint8), 3)
    runs = (np.diff(skin, axis=1, prepend=0) == 1).sum(1)
    assert runs[int(0.8 * SIZE) :].max() == 1


def test_what_hangs_free_does_not_stay_with_the_shoulders():
    clothes = np.zeros((60, 60), np.float32)
    clothes[45:, 10:50] = 1
    stays = clothes.copy()
    stays[35:46, 20:25] = 1  # skin that clothes border on
    stays[10:14, 30:34] = 1  # an earring
    kept = _resting(stays, clothes)
    assert kept[10:14, 30:34].max() == 0
    assert (np.delete(kept, np.s_[10:14], 0) == np.delete(stays, np.s_[10:14], 0)).all()


def test_skin_that_stays_in_part_keeps_its_colour():
    """Skin over which the head's part goes over into the shoulders' is not painted over by the shirt beside it."""
    photo = np.full((80, 80, 3), 240, np.float32)
    photo[:, :40] = (150, 100, 80)
    stays = np.clip((np.arange(80, dtype=np.float32)[:, None] - 20) / 40, 0, 1) * np.ones((1, 80), np.float32)
    apart = np.ones((80, 80), np.float32)
    body = _body(photo, stays, apart, 1 - stays, np.zeros_like(stays), apart)
    assert np.abs(body[25:55, 5:35, :3] - (150, 100, 80)).max() < 4


def test_where_one_surface_ends_before_another_no_pixel_is_left_out_and_none_is_jagged():
    """A slanted edge between two surfaces with a gap through which a bright wall shows in every third row."""
    row, column = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    first = column < 100 + 0.4 * row
    source = np.stack([column + np.where(first, 40, 0), row], -1).astype(np.float32)
    pixels = np.where(first, 180, 40).astype(np.uint8)[..., None].repeat(3, -1)
    gap = first & ~np.roll(first, -1, 1) & (row % 3 == 0)
    pixels[gap] = 255
    opacity, moved = np.where(gap, 0.2, 1).astype(np.float32), np.ones_like(row)
    jagged = pixels.copy()
    no_features, none = np.zeros((SIZE, SIZE), bool), np.zeros((SIZE, SIZE), np.uint8)
    soften_seams(pixels, seams := _seams(source, opacity, moved, no_features, none))
    assert gap[8:-8].sum() > 50
    assert pixels[gap][8:-8].max() < 190  # the wall's brightness is 255
    steps = np.abs(np.diff(pixels[..., 0].astype(int), axis=1)).max(1)
    assert np.median(steps) < 110 < 140 <= np.abs(np.diff(jagged[..., 0].astype(int), axis=1)).max(1).min()
    assert (pixels == jagged)[~seams].all()
    assert not _seams(source, opacity, 0 * moved, no_features, none).any()  # the photo's own edges are soft already
    assert not _seams(source, opacity, moved, ~no_features, none).any()  # lids and lips stay sharp


def test_an_outline_before_the_background_is_no_seam():
    row, column = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    person = column < 128
    source = np.stack([column + np.where(person, 40, 0), row], -1).astype(np.float32)
    nothing, none = np.zeros((SIZE, SIZE), bool), np.zeros((SIZE, SIZE), np.uint8)
    assert not _seams(source, person.astype(np.float32), np.ones_like(row), nothing, none)[:, 128:].any()


def test_a_gap_is_closed_with_the_soft_edges_around_it_and_a_view_of_the_background_is_not():
    opacity = np.ones((60, 80), np.float32)
    opacity[20:30, 10:30] = opacity[20:30, 50:70] = 0.8
    opacity[21:29, 11:29] = opacity[21:29, 51:69] = 0
    opacity[:, 78:] = 0.7
    person = np.ones_like(opacity)
    person[:, 40:] = 0
    gaps = _holes(SimpleNamespace(person=person), opacity)
    expected = np.zeros_like(gaps)
    expected[20:30, 10:30] = True
    assert np.array_equal(gaps, expected)
