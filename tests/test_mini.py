"""The model that ships: its files, and what it does to an edit."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from skimage import data

from instaface import Edit, Editor
from instaface.assets import MINI
from instaface.diffusion.corrector import load_pipeline
from instaface.diffusion.cost import pipeline_cost
from instaface.draft import reworked
from instaface.evaluation.cases import Case
from instaface.evaluation.systems import EditorSystem, SystemOptions


@pytest.fixture(scope="module")
def edits():
    """The astronaut turned by 25 degrees, by both renderers."""
    editor = Editor()
    face = editor.track(data.astronaut())[0]
    return [editor.edit(face, Edit(yaw=25), renderer=name) for name in ("geometric", "diffusion")]


def test_its_files_are_small_halves_and_say_where_they_come_from():
    files = list(MINI.rglob("*.safetensors"))
    sizes = [file.stat().st_size for file in files]
    assert sum(sizes) < 48e6 and max(sizes) < 15e6
    for file in files:
        with safe_open(file, "pt") as tensors:
            assert {tensors.get_tensor(key).dtype for key in tensors.keys()} == {torch.float16}  # noqa: SIM118
    assert "Data" in (MINI / "README.md").read_text(encoding="utf-8")


def test_it_is_loaded_in_32_bits_and_evaluates_its_networks_once():
    pipeline = load_pipeline(device="cpu")
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert {p.dtype for part in parts for p in part.parameters()} == {torch.float32}
    calls = {cost.part: cost.calls for cost in pipeline_cost(pipeline)}
    assert sum(count for name, count in calls.items() if "U-Net" in name) <= 8


def test_it_works_over_what_the_camera_did_not_see_and_nothing_else(edits):
    drawn, made = edits
    change = np.abs(made.image.pixels.astype(int) - drawn.image.pixels).max(-1)
    frame = made.face.frame
    inner = change[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width]
    region = reworked(drawn.coverage) * drawn.mask
    assert inner[region > 0.9].mean() > 1
    away = cv2.distanceTransform((region < 0.001).astype(np.uint8), cv2.DIST_L2, 5) > 8
    assert away.mean() > 0.2 and (inner[away] > 0).mean() < 0.002  # what is thin differs on the canvas' other grid
    assert change.sum() == inner.sum()
    assert np.array_equal(made.draft, drawn.draft)


def test_it_is_the_default_where_the_head_moves(edits):
    editor, face = Editor(), edits[0].face
    by_default = {
        name: editor.edit(face, edit)
        for name, edit in (("turned", Edit(yaw=25)), ("smiling", Edit(expression="smile")), ("lit", Edit(light="left")))
    }
    found = {name: result.renderer for name, result in by_default.items()}
    assert found == {"turned": "diffusion", "smiling": "geometric", "lit": "geometric"}
    assert np.array_equal(by_default["turned"].image.pixels, edits[1].image.pixels)


def test_a_report_on_the_default_shows_what_an_edit_gets_without_a_renderer(edits):
    face, case = edits[0].face, Case(Path("astronaut.png"), "turned", Edit(yaw=25))
    for name, expected in zip(("geometric", "default"), edits, strict=True):
        made = EditorSystem(SystemOptions(name)).render(face, case, expected.parameters)
        assert np.array_equal(made.pixels, expected.image.pixels)


def test_its_edits_are_close_to_the_drafts(edits):
    """It repairs; it does not make another picture."""
    drawn, made = edits
    region = reworked(drawn.coverage) * drawn.mask > 0.9
    frame = made.face.frame
    window = np.s_[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width]
    change = np.abs(made.image.pixels[window].astype(int) - drawn.image.pixels[window])[region]
    assert change.mean() < 25
