"""Evaluation of the diffusion renderer with a tiny model, before and after it learned a person."""

import json

import numpy as np
import pytest
import skimage.data
from PIL import Image

from instaface.cli.app import app
from instaface.diffusion.cost import edit_cost, pipeline_cost
from instaface.errors import InstaFaceError
from instaface.evaluation.run import view_path
from instaface.training import personalize
from instaface.training.config import TrainingConfig, dump_config
from instaface.training.loop import as_pipeline
from tiny_model import tiny_config, tiny_networks
from tiny_training import tiny_training

IDENTITY = {**tiny_config().identity, "face_width": 128}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A photo, a model, its training options and a grid of one edit."""
    folder = tmp_path_factory.mktemp("diffusion")
    (folder / "photos").mkdir()
    Image.fromarray(skimage.data.astronaut()[:256, 96:352]).save(folder / "photos" / "ann.png")
    config = tiny_config(identity=IDENTITY)
    as_pipeline(tiny_networks(identity=IDENTITY), config).save_pretrained(folder / "model")
    options = tiny_training(steps=2).model_dump() | {"model": config.model_dump()}
    (folder / "tiny.yaml").write_text(dump_config(TrainingConfig(**options)))
    (folder / "grid.yaml").write_text("turned: {yaw: 20}\n")
    return folder


def evaluate(folder, output, *options):
    arguments = ["evaluate", folder / "photos", "-o", output, "--edits", folder / "grid.yaml", "--jobs", 1, *options]
    app([str(argument) for argument in arguments], standalone_mode=False)


def test_the_report_of_a_model_says_what_it_costs_and_whom_it_learned_from(folder, tmp_path):
    evaluate(folder, tmp_path / "report", "--renderer", "diffusion", "--model", folder / "model")
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["system"] == "diffusion model" and metrics["zero"] == {"n": 1, "exact": 1}
    assert metrics["model"]["recogniser"] == "dlib" and metrics["model"]["size"] == 64
    assert "It was trained with dlib" in " ".join(metrics["notes"])
    text = (tmp_path / "report" / "report.md").read_text()
    assert "## Cost by part" in text and "| guidance network | 2 |" in text
    total = sum(part["gmac"] for part in metrics["model"]["cost"])
    expected = sum(cost.total for cost in edit_cost(tiny_config(identity=IDENTITY))) / 1e9
    assert total == pytest.approx(expected) and total > 0


def test_the_cost_of_a_loaded_model_is_that_of_its_config():
    config = tiny_config(identity=IDENTITY, steps=3)
    assert pipeline_cost(as_pipeline(tiny_networks(identity=IDENTITY), config)) == edit_cost(config)


def test_a_person_is_learned_and_measured_before_and_after(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(personalize, "SAMPLES", 2)
    options = ("--protocol", "personalisation", "--renderer", "diffusion", "--model", folder / "model")
    options += ("--config", folder / "tiny.yaml", "--steps", 3)
    evaluate(folder, tmp_path, *options)
    adapter = tmp_path / "adapters" / "ann.safetensors"
    before, after = (
        json.loads((tmp_path / name / "metrics.json").read_text())["system"] for name in ("before", "after")
    )
    assert (before, after) == ("diffusion model", "diffusion model personalised")
    views = [np.asarray(Image.open(view_path(tmp_path / name, "ann__turned"))) for name in ("before", "after")]
    assert not np.array_equal(*views)  # the adapter was loaded
    result = json.loads((tmp_path / "comparison.json").read_text())
    assert result["systems"] == [before, after]
    assert {"control", "identity", "preservation", "speed"} <= set(result["tables"])
    assert len(result["tables"]["control"]["all"]["pose slope"]["values"]) == 2
    written = adapter.stat().st_mtime_ns
    evaluate(folder, tmp_path, *options)
    assert adapter.stat().st_mtime_ns == written  # a run that was stopped does not learn again


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "somewhere"), "are for --renderer diffusion"),
        (("--renderer", "oil"), "'oil' is unknown"),
        (("--renderer", "diffusion", "--model", "/nowhere"), "--model /nowhere: no model"),
        (("--protocol", "personalisation"), "give --renderer diffusion, --model PATH and --config"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(folder, tmp_path, options, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InstaFaceError, match=message):
        evaluate(folder, tmp_path / "report", *options)
    assert not (tmp_path / "report").exists()
