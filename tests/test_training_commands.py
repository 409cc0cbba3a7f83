"""The training commands, as users type them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from instaface.cli.app import app
from instaface.errors import InstaFaceError
from instaface.training.config import dump_config, load_config
from tiny_training import tiny_training


@pytest.fixture
def config(tmp_path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(dump_config(tiny_training(steps=4, validation_steps=2, checkpoint_steps=2)))
    return file


@pytest.fixture
def photos(tmp_path) -> Path:
    folder, random = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for k in range(20):
        Image.fromarray(random.integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(folder / f"{k:02}.png")
    return folder


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_an_autoencoder_is_trained_resumed_and_left_in_the_folder_asked_for(config, photos, tmp_path):
    command = ("train", "--stage", "autoencoder", "--config", config, "--data", photos, "-o", tmp_path / "run")
    assert "steps: 3" in run(*command, "--dry-run", "--set", "autoencoder.steps=3")
    assert not (tmp_path / "run").exists()
    assert str(tmp_path / "run" / "model") in run(*command).replace("\n", "")
    assert (tmp_path / "run" / "model" / "vae" / "config.json").is_file()
    assert load_config(tmp_path / "run" / "options.yaml").autoencoder.steps == 4
    run(*command, "--resume", "--set", "autoencoder.steps=6")
    checkpoints = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert checkpoints == ["step-00000004", "step-00000006"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stage", "3"), "'3' is unknown"),
        (("--stage", "1"), "instaface prepare"),
        (("--stage", "autoencoder", "--set", "autoencoder.stepz=3"), "stepz"),
        (("--stage", "autoencoder", "--set", "nothing"), "NAME=VALUE"),
        (("--stage", "autoencoder", "--init", "nowhere"), "no model in it"),
    ],
)
def test_what_is_wrong_is_said(config, photos, tmp_path, arguments, message):
    with pytest.raises(InstaFaceError, match=message):
        run("train", "--config", config, "--data", photos, "-o", tmp_path / "run", *arguments)
