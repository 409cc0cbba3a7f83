"""The diffusion renderer on a real photo, with a tiny model."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from instaface.diffusion.conditions import Canvas, conditions
from instaface.diffusion.corrector import Corrector, load_pipeline
from instaface.diffusion.pipeline import InstaFacePipeline
from instaface.diffusion.renderer import render, worth_it
from instaface.draft import draft, reworked, to_be_reworked
from instaface.edit import Edit
from instaface.edit.apply import apply
from instaface.errors import InstaFaceError
from instaface.face import OpenHead
from instaface.photo import read_photo
from instaface.render import region_mask, render_maps
from instaface.track import Frame, track
from tiny_model import tiny_config, tiny_networks


@pytest.fixture(scope="module")
def edited():
    """The astronaut, turned by 20 degrees."""
    face = track(read_photo(data.astronaut()))[0]
    model = OpenHead.load()
    parameters = face.parameters.replace(head=face.parameters.head + np.array([[20, 0, 0]], np.float32))
    return face, draft(face, parameters, model), parameters, model


def tiny_pipeline(size: int = 64) -> InstaFacePipeline:
    identity = {**tiny_config().identity, "face_width": 128}
    pipeline = InstaFacePipeline(**vars(tiny_networks(identity=identity)), size=size, steps=2, strength=0.6)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tiny_corrector(size: int = 64) -> Corrector:
    return Corrector(tiny_pipeline(size))


def test_a_canvas_gives_back_what_was_put_on_it(edited):
    face = replace(edited[0], frame=Frame(10, 20, 300, 201))
    canvas = Canvas.of(face, 128)
    assert canvas.size == (128, 96)
    y, x = np.mgrid[:201, :300].astype(np.float32)
    smooth = np.stack([x, y], -1)
    put = canvas.put(smooth)
    assert put.shape == (96, 128, 2)
    inner = (slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(canvas.take(put)[inner], smooth[inner], atol=0.3)
    # A pixel of the canvas shows what its camera says it shows.
    camera, at = canvas.camera(face.frame_camera), np.array([64.0, 40.0])
    point = torch.from_numpy(camera.unproject(at, 60.0))
    np.testing.assert_allclose(face.frame_camera.project(point)[:2], put[39:41, 63:65].mean((0, 1)) + 0.5, atol=0.3)


def test_conditions_show_the_same_head_at_the_same_place(edited):
    face, drawn, parameters, model = edited
    canvas = Canvas.of(face, 128)
    given = conditions(face, drawn, parameters, model, canvas)
    assert set(given.maps) == {"normals", "albedo", "rendering", "appearance", "coverage"}
    for value in (*given.maps.values(), given.source, given.draft):
        assert value.shape == (3, canvas.size[1], canvas.size[0]) and value.dtype == np.float32
        assert np.abs(value).max() <= 1.001
    # The drawn face is where the rendered one is: their edges go together better than when one is shifted.
    rendered = given.maps["rendering"].mean(0)
    shown = given.draft.mean(0)
    on = rendered > 0.05 * rendered.max()
    match = []
    for shift in (0, 12, -12):
        moved, inside = np.roll(rendered, shift, 1), np.roll(on, shift, 1)
        match.append(np.corrcoef(moved[inside], shown[inside])[0, 1])
    assert match[0] > max(match[1:])


def test_the_renderer_keeps_what_the_mask_leaves_out_and_its_seed(edited):
    face, drawn, parameters, model = edited
    corrector = tiny_corrector()
    first, again, other = (render(corrector, model, face, drawn, parameters, seed) for seed in (0, 0, 1))
    assert first.shape == drawn.pixels.shape and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    kept = drawn.mask == 0
    assert kept.any() and np.array_equal(first[kept], drawn.pixels[kept])
    seen = (drawn.coverage > 0.999) & ~kept
    invented = (drawn.coverage < 0.001) & ~kept
    change = np.abs(first.astype(int) - drawn.pixels).max(-1)
    assert change[seen].mean() < 0.4 * change[invented].mean()
    far = cv2.distanceTransform(seen.astype(np.uint8), cv2.DIST_L2, 5)
    assert change[far == far.max()].max() == 0


def test_the_region_is_what_was_not_seen_and_a_band_around_it_but_no_thin_lines():
    coverage = np.ones((512, 512), np.float32)
    coverage[:, 100], coverage[200:300, 200:300], coverage[400:, 400:] = 0, 0, 0.5
    region = reworked(coverage)
    assert region.min() == 0 and region.max() <= 1
    assert region[:, 60:140].max() == 0
    assert region[200:300, 200:300].min() > 0.99 and region[410:, 410:].min() > 0.99
    assert region[250, 195] > 0.5 > region[250, 180] and region[250, 170] == 0


def test_an_edit_that_shows_nothing_new_has_nothing_to_be_reworked(edited):
    face, drawn, _, model = edited
    lit = apply(Edit(light="left"), face.parameters, model)
    assert to_be_reworked(drawn) and not to_be_reworked(draft(face, lit, model))
    assert not to_be_reworked(replace(drawn, mask=0 * drawn.mask))


def test_eyes_lips_and_the_inside_of_the_mouth_stay_the_drafts(edited):
    face, _, _, model = edited
    parameters = apply(Edit(yaw=20, expression={"jawOpen": 0.8}), face.parameters, model)
    drawn = draft(face, parameters, model)
    maps = render_maps(model, parameters, face.frame_camera)
    result = render(tiny_corrector(512), model, face, drawn, parameters)
    change = np.abs(result.astype(int) - drawn.pixels).max(-1)
    for parts, width in ((("mouth", "teeth", "gums", "tongue"), 9), (("eyes",), 3), (("lips",), 3)):
        inside = cv2.erode(region_mask(model, maps, *parts).astype(np.uint8), np.ones((width, width))) > 0
        assert inside.sum() > 20 and change[inside].mean() < 3  # their edges are soft
    assert change.max() > 50


def test_a_correction_that_takes_nothing_away_from_the_background_is_left_out():
    random = np.random.default_rng(0)
    grain = random.normal(0, 2, (256, 256, 3)).astype(np.float32)
    grain[100:140, 20:60] = 30  # a strand that is taken away
    person = (np.arange(256) > 128)[None].repeat(256, 0).astype(np.float32)
    left = worth_it(grain, person)
    assert np.array_equal(left[:, 129:], grain[:, 129:])
    assert left[105:135, 25:55].min() > 29
    assert np.abs(left[160:, :128]).max() < 0.2 * np.abs(grain[160:, :128]).max()
    assert worth_it(grain, np.empty((0, 0), np.float32)) is grain


def test_a_black_and_white_photo_stays_so(edited):
    face, _, parameters, model = edited
    grey = np.repeat(np.rint(face.photo.pixels.mean(-1, keepdims=True)).astype(np.uint8), 3, -1)
    face = replace(face, photo=replace(face.photo, pixels=grey))
    drawn = draft(face, parameters, model)
    made = render(tiny_corrector(), model, face, drawn, parameters).astype(int)
    assert np.abs(made - drawn.pixels).max() > 3
    assert np.ptp(made, axis=-1).max() <= np.ptp(drawn.pixels.astype(int), axis=-1).max() + 1


def test_a_model_or_adapter_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InstaFaceError, match="--model"):
        load_pipeline(str(tmp_path / "nowhere"))
    tiny_pipeline().save_pretrained(tmp_path / "model")
    with pytest.raises(InstaFaceError, match="--personal"):
        load_pipeline(str(tmp_path / "model"), str(tmp_path / "me.safetensors"))
    assert load_pipeline(str(tmp_path / "model"), device="cpu").config.size == 64
