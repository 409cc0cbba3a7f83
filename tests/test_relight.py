"""New light on a photo, held against renderings whose light, cast shadow and highlight are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from instaface.draft import draft, kernels, marks_of, take_apart
from instaface.draft.carry import Layer
from instaface.draft.geometric import end_softly
from instaface.draft.relight import MOST, bounded, continued, light_change, relight, shading
from instaface.draft.surfaces import Surfaces
from instaface.face import Camera, OpenHead
from instaface.face.colour import linear_from_pixels, srgb_from_linear
from instaface.face.light import basis, direction_from_angles, directional, rotate
from instaface.photo import Photo
from instaface.render import region_mask, render_maps
from instaface.render.occlusion import unshadowed
from scenes import tracked_face

SIZE = 256


def lamp(azimuth, elevation=10.0, strength=0.7, ambient=0.3):
    direction = direction_from_angles(torch.tensor([float(azimuth)]), torch.tensor([float(elevation)]))
    return directional(direction, torch.tensor([strength]), torch.tensor([ambient]))


OLD, NEW = lamp(-30), lamp(50)


@pytest.fixture(scope="module")
def model():
    return OpenHead.load()


@pytest.fixture(scope="module")
def parameters(model):
    neutral = model.neutral()
    near = torch.tensor([[1.0, 1.0, 0.6]])
    return neutral.replace(light=OLD, translation=neutral.translation * near)


@pytest.fixture(scope="module")
def camera():
    return Camera.for_photo(SIZE, SIZE)


@pytest.fixture(scope="module")
def maps(model, parameters, camera):
    return render_maps(model, parameters, camera)


@pytest.fixture(scope="module")
def brow_shadow(model, maps):
    """(H, W) what a brim high on the left leaves of the light: an edge from the temple to the nose."""
    y, x = np.mgrid[:SIZE, :SIZE]
    face = region_mask(model, maps, "face")
    top, bottom = np.flatnonzero(face.any(1))[[0, -1]]
    left, right = np.flatnonzero(face.any(0))[[0, -1]]
    edge = top + (bottom - top) * (0.15 + 0.35 * (right - x) / (right - left))
    return np.where(y < edge, 0.5, 1.0).astype(np.float32)


def photographed(maps, light_share=1.0, highlight=0.0):
    colour = maps.albedo * maps.shading * np.asarray(light_share)[..., None] + np.asarray(highlight)[..., None]
    colour = colour * maps.mask[..., None] + np.array([0.05, 0.1, 0.3]) * (1 - maps.mask[..., None])
    return np.rint(255 * srgb_from_linear(colour.clip(0, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def shadowed(model, maps, parameters, camera, brow_shadow):
    face = tracked_face(photographed(maps, brow_shadow), parameters, camera, maps.mask)
    return face, take_apart(face, model)


def frame_marks(scene):
    """(H, W, 3) over the photo alone; the canvas is larger where the photo cuts the head."""
    left, top, _, _ = scene.margins
    return scene.marks[top : top + SIZE, left : left + SIZE]


def plain_skin(model, maps):
    """(H, W) skin well inside of the face, without brows, eyes and lips."""
    face = region_mask(model, maps, "face") & (maps.normals[..., 2] > 0.5)
    return face & ~region_mask(model, maps, "brows", "eyelids", "eyes", "lips")


def test_a_cast_shadow_is_found_where_it_is(model, maps, shadowed, brow_shadow):
    skin, found = plain_skin(model, maps), frame_marks(shadowed[1]).mean(-1) < 0.5 * np.log(0.5)
    true = (brow_shadow < 1) & skin
    assert true.sum() > 500
    both, either = (found & true).sum(), ((found & skin) | true).sum()
    assert both / either > 0.7


def test_a_highlight_is_found_where_it_is_and_has_the_lamps_colour(model, maps, parameters, camera):
    y, x = np.mgrid[:SIZE, :SIZE]
    row, column = (part.mean() for part in np.nonzero(region_mask(model, maps, "forehead")))
    spot = 0.35 * np.exp(-(((x - column) / 9) ** 2 + ((y - row) / 5) ** 2))
    face = tracked_face(photographed(maps, highlight=spot), parameters, camera, maps.mask)
    marks = frame_marks(take_apart(face, model))
    centre = marks[round(row), round(column)]
    assert centre.mean() > 0.25 and centre[2] > centre[0]  # skin is red, the lamp is white
    assert np.abs(marks[spot < 0.01]).mean() < 0.02


def test_plain_skin_has_no_marks(model, maps, parameters, camera):
    marks = frame_marks(take_apart(tracked_face(photographed(maps), parameters, camera, maps.mask), model))
    assert np.abs(marks[plain_skin(model, maps)]).mean() < 0.03


def test_new_light_on_a_shadowed_face_comes_near_the_rendering_in_that_light(
    model, maps, shadowed, brow_shadow, camera
):
    face, scene = shadowed
    edited = face.parameters.replace(light=NEW)
    truth = linear_from_pixels(photographed(render_maps(model, edited, camera)))
    where = (brow_shadow < 1) & plain_skin(model, maps)
    unmarked = take_apart(face, model)
    unmarked.__dict__["marks"] = np.zeros_like(scene.marks)
    errors = {}
    for name, taken in (("with", scene), ("without", unmarked)):
        out = linear_from_pixels(draft(face, edited, model, taken).pixels)
        errors[name] = np.abs(np.log(out[where] + 0.01) - np.log(truth[where] + 0.01)).mean()
    assert errors["with"] < 0.5 * errors["without"]
    assert errors["with"] < 0.25


def test_shadows_stay_under_an_unchanged_light(model, shadowed):
    face, scene = shadowed
    head = face.parameters.head + torch.tensor([[4.0, 0.0, 0.0]])
    one = draft(face, face.parameters.replace(head=head), model, scene).pixels
    unmarked = take_apart(face, model)
    unmarked.__dict__["marks"] = np.zeros_like(scene.marks)
    assert (one == draft(face, face.parameters.replace(head=head), model, unmarked).pixels).all()
    same = draft(face, face.parameters, model, scene).pixels.astype(int)
    assert np.abs(same - face.photo.pixels).mean() < 0.5


def test_a_light_becomes_another_by_its_direction_not_by_its_strength():
    assert light_change(OLD, OLD) == 0
    assert light_change(OLD, 2 * OLD) == pytest.approx(0, abs=1e-6)
    steps = [light_change(OLD, OLD + t * (NEW - OLD)) for t in np.linspace(0, 1, 9)]
    assert (np.diff(steps) >= 0).all() and steps[-1] == 1


def test_the_nose_shades_the_cheek_behind_it_and_the_chin_the_neck(model, parameters):
    def left_alone(region, azimuth, elevation):
        light = lamp(azimuth, elevation, strength=1.0, ambient=0.1)[0]
        return float(unshadowed(model, parameters, light)[model.regions[region]].mean())

    assert left_alone("cheek_left", -65, 10) < left_alone("cheek_right", -65, 10) - 0.02
    assert left_alone("cheek_right", 65, 10) < left_alone("cheek_left", 65, 10) - 0.02
    assert left_alone("neck", 0, 60) < left_alone("forehead", 0, 60) - 0.02


def test_shadows_turn_with_the_head(model, parameters):
    """A lamp that goes round with the head casts the same shadows."""
    turned = parameters.replace(head=torch.tensor([[25.0, 0.0, 0.0]]))
    one = unshadowed(model, parameters, lamp(40, 0)[0])
    other = unshadowed(model, turned, lamp(65, 0)[0])
    np.testing.assert_allclose(one, other, atol=1e-4, rtol=0)
    assert np.abs(one - unshadowed(model, turned, lamp(40, 0)[0])).max() > 0.05


def test_a_turned_light_shades_turned_normals_as_before():
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    normals = torch.nn.functional.normalize(torch.randn(20, 3, generator=generator), dim=-1)
    light = torch.randn(9, generator=generator)
    torch.testing.assert_close(basis(normals @ rotation.T) @ rotate(light, rotation), basis(normals) @ light)


def test_ratios_are_held_within_bounds_without_a_border():
    ratio = np.geomspace(1e-4, 1e4, 2001).astype(np.float32)
    held = bounded(np.log(ratio))
    assert held.min() >= MOST[0] and held.max() <= MOST[1] and (np.diff(held) >= 0).all()
    inner = (ratio > 0.3) & (ratio < 2)
    np.testing.assert_allclose(held[inner], ratio[inner], rtol=1e-5)
    slope = np.diff(np.log(held)) / np.diff(np.log(ratio))
    assert np.abs(np.diff(slope)).max() < 0.05


def test_bright_skin_nears_white_and_keeps_its_hue():
    colour = np.full((4, 4, 3), (230, 190, 160), np.float32)
    out = relight(colour, np.full((4, 4, 3), 3.0, np.float32))
    assert out.max() < 254 and out.min() > 170
    before, after = linear_from_pixels(colour[0, 0].astype(np.uint8)), linear_from_pixels(out[0, 0].astype(np.uint8))
    np.testing.assert_allclose(after / after[0], before / before[0], atol=0.03)
    unchanged = relight(colour, np.ones((4, 4, 3), np.float32))
    assert (unchanged == colour).all()
    brighter = [relight(colour, np.full((4, 4, 3), r, np.float32)).mean() for r in (0.5, 1.01, 1.5, 2, 4)]
    assert (np.diff(brighter) > 0).all()


def test_light_goes_on_over_clothes_evenly():
    known = np.zeros((120, 100), np.float32)
    known[10:60, 30:70] = 1
    ratio = np.where(np.arange(100)[None, :, None] < 50, 2.0, 0.5) * np.ones((120, 100, 3))
    out = continued((np.log(ratio) * known[..., None]).astype(np.float32), known)
    assert out[100, 20].mean() > 1.2 and out[100, 80].mean() < 0.8
    assert np.abs(np.diff(np.log(out), axis=1)).max() < 0.15


def test_marks_of_a_tracked_face_are_those_of_its_scene(model, shadowed):
    face, scene = shadowed
    assert np.abs(marks_of(face, model) - frame_marks(scene)).mean() < 0.02


def test_upper_and_lower_teeth_and_gums_are_lit_alike(model, shadowed):
    """What lies one above the other in the mouth gets about the same light, and no other than the lips do."""
    face, scene = shadowed
    values = Surfaces.pose(scene, face.parameters.replace(light=NEW), model).values
    log = np.log(values[:, kernels.RATIO : kernels.RATIO + 3].mean(-1))
    across = model.vertices(model.neutral())[0, :, 0].numpy()
    inside = np.concatenate([model.regions[name].numpy() for name in ("teeth", "gums")])
    inside = inside[np.abs(across[inside]) < 2]
    columns = np.round(across[inside] / 0.1).astype(int)
    spread = [log[inside[columns == c]].std() for c in np.unique(columns)]
    lips = log[model.regions["lips"]]
    assert max(spread) < 0.25 * lips.std()
    assert lips.min() <= log[inside].min() and log[inside].max() <= lips.max()


def test_new_light_alone_moves_nothing(model, shadowed):
    """It falls on the person that the photo shows, and all that is seen is still the photo's."""
    face, scene = shadowed
    result = draft(face, face.parameters.replace(light=NEW), model, scene)
    background = face.matte.person == 0
    assert (result.pixels[background] == face.photo.pixels[background]).all()
    assert (result.coverage[face.matte.person > 0.99] == 1).all()


def test_a_black_and_white_photo_stays_so_in_new_light(model, shadowed):
    face, _ = shadowed
    grey = np.repeat(face.photo.pixels.mean(-1, keepdims=True), 3, -1).round().astype(np.uint8)
    face = replace(face, photo=Photo(grey))
    pixels = draft(face, face.parameters.replace(light=NEW), model).pixels.astype(int)
    assert np.abs(pixels - grey[face.frame.y :, face.frame.x :][: face.frame.height, : face.frame.width]).max() > 20
    assert np.ptp(pixels, axis=-1).max() <= 1


def test_light_from_behind_does_not_lend_its_colour_to_the_face():
    """Two lights alike on what faces the camera, one of them with blue light from behind."""
    plain = torch.zeros(1, 9, 3)
    plain[0, 0], plain[0, 3] = 0.5, 0.3
    blue = plain.clone()
    blue[0, 0, 2], blue[0, 3, 2] = 0.8, -0.15
    normals = np.array([[0.0, 0.0, 1.0], [0.5, 0.0, 0.866]], np.float32)
    ratio = shading(normals, blue) / shading(normals, plain)
    assert np.abs(ratio[:, 2] / ratio[:, 0] - 1).max() < 0.15


def test_a_neck_s_light_goes_over_into_that_of_what_it_borders_on():
    alpha, around = np.zeros((400, 400), np.float32), np.full((400, 400, 3), 0.8, np.float32)
    alpha[:, 80:320] = 1
    neck = replace(Layer.nothing(), window=(slice(0, 400),) * 2, alpha=alpha, ratio=np.full_like(around, 0.3))
    end_softly(neck, around)
    assert np.abs(neck.ratio[:, [80, 319]] - 0.8).max() < 0.15 and np.abs(neck.ratio[:, 200] - 0.3).max() < 0.01
