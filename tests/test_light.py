"""The embedded model without its libraries: the same numbers as the pipeline's."""

import pytest
import torch

from instaface.assets import MINI
from instaface.diffusion.corrector import Corrector, load_pipeline
from instaface.diffusion.light import LightModel
from instaface.diffusion.light.schedule import Schedule
from instaface.diffusion.pipeline import InstaFacePipeline


def given(height: int, width: int) -> dict:
    """Random inputs of one edit."""
    generator = torch.Generator().manual_seed(1)
    names = ("normals", "albedo", "rendering", "appearance", "coverage")
    pictures = torch.rand(len(names) + 2, 1, 3, height, width, generator=generator) * 2 - 1
    return {
        "maps": dict(zip(names, pictures, strict=False)),
        "source": pictures[-2],
        "draft": pictures[-1],
        "face_embedding": torch.randn(1, 128, generator=generator),
        "region": torch.rand(1, 1, height, width, generator=generator),
    }


@pytest.mark.parametrize("bits", [32, 16])
@pytest.mark.parametrize(("steps", "strength", "noise"), [(1, 0.1, 0.0), (3, 0.4, 1.0)])
def test_it_corrects_as_the_pipeline_does_to_the_bit(bits, steps, strength, noise):
    pipeline, model = InstaFacePipeline.from_pretrained(MINI).to(torch.float32), LightModel(MINI)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.register_to_config(noise=noise)
    model.config.noise = noise
    model.schedule = Schedule(dict(pipeline.scheduler.config), steps, strength)
    settings = {"num_inference_steps": steps, "strength": strength}
    with torch.autocast("cpu", torch.bfloat16, enabled=bits == 16):
        expected = pipeline.correction(**given(128, 96), generator=torch.Generator().manual_seed(2), **settings)
        found = model.correction(**given(128, 96), generator=torch.Generator().manual_seed(2))
    assert found.dtype == torch.float32 and found.abs().max() > 0.01
    assert torch.equal(found, expected)


def test_it_is_what_the_model_that_ships_is_loaded_as_and_nothing_else():
    loaded, again, named = Corrector.load(), Corrector.load(), Corrector.load(str(MINI))
    assert isinstance(loaded._pipeline, LightModel) and loaded._pipeline is again._pipeline
    assert named._pipeline is load_pipeline(str(MINI), None)
    assert (loaded.size, loaded.convention) == (named.size, named.convention) == (512, "instaface")
