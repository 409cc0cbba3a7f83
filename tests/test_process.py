"""A corrector in a process of its own: the same numbers, the same errors, and it is gone with whom it served."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from instaface import Edit
from instaface.cli.console import may_diffuse
from instaface.diffusion.corrector import Corrector
from instaface.diffusion.interface import Conditions
from instaface.diffusion.process import CorrectorProcess
from instaface.errors import InstaFaceError

PHOTO, LANDMARKS = np.full((64, 64, 3), 90, np.uint8), np.random.default_rng(3).uniform(10, 50, (478, 2))
SCRIPT = """
from instaface.diffusion.process import CorrectorProcess
there = CorrectorProcess()
there.start()
print(there._process.pid)
"""


@pytest.fixture(scope="module")
def given():
    random = np.random.default_rng(2)
    pictures = random.uniform(-1, 1, (7, 3, 64, 96)).astype(np.float32)
    names = ("normals", "albedo", "rendering", "appearance", "coverage")
    region = random.uniform(0, 1, (1, 64, 96)).astype(np.float32)
    return Conditions(dict(zip(names, pictures, strict=False)), pictures[-2], pictures[-1], region)


def test_it_corrects_as_a_corrector_here_does_until_it_is_killed(given):
    here, there = Corrector.load(), CorrectorProcess()
    there.start()
    assert (there.size, there.convention) == (here.size, here.convention)
    for seed in (0, 1):
        found = there(given, PHOTO, LANDMARKS, seed)
        assert found.shape == (64, 96, 3) and found.dtype == np.float32
        np.testing.assert_allclose(found, here(given, PHOTO, LANDMARKS, seed), atol=1e-5)
    with pytest.raises(ValueError, match="landmarks have shape"):  # a job that cannot be done does not end it
        there(given, PHOTO, LANDMARKS[:7], 0)
    there(given, PHOTO, LANDMARKS, 0)
    there._process.kill()
    with pytest.raises(InstaFaceError, match="process ended: free some memory"):
        there(given, PHOTO, LANDMARKS, 0)


def test_a_model_that_is_not_there_is_named_as_it_is_here(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InstaFaceError, match=r"--model .*nowhere: no model on disk"):
        CorrectorProcess(str(tmp_path / "nowhere")).size  # noqa: B018


@pytest.mark.skipif(os.name != "posix", reason="asks for a process by its number")
def test_it_ends_with_whom_it_serves(tmp_path):
    folder, script = tmp_path / "here", tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")  # run once, though it does not ask whether it is the program
    folder.mkdir()
    (folder / "pickle.py").write_text("1 / 0", encoding="utf-8")  # what lies about is not imported
    command = [sys.executable, str(script)]
    pid = int(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout)
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("it is still there")


@pytest.mark.parametrize(
    ("edit", "renderer", "face_model", "model", "driven", "expected"),
    [
        (Edit(yaw=20), None, "openhead", None, "", True),
        (Edit(expression="smile"), None, "openhead", None, "", False),
        (Edit(expression="smile"), "diffusion", "openhead", None, "", True),
        (Edit(expression="smile"), None, "openhead", None, "light,pose", True),
        (Edit(yaw=20), "geometric", "openhead", None, "", False),
        (Edit(yaw=20), None, "flame", None, "", False),
        (Edit(yaw=20), None, "flame", "mine", "", True),
    ],
)
def test_it_is_started_early_where_it_may_be_needed(edit, renderer, face_model, model, driven, expected):
    assert may_diffuse(edit, renderer, face_model, model, driven) is expected
