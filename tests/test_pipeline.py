"""The pipeline: what goes in, what comes out, what stays as it is."""

import diffusers
import numpy as np
import pytest
import torch

from instaface.diffusion.pipeline import InstaFacePipeline, guidance_branches
from tiny_model import tiny_networks


def make(seed: int = 0, **changes: object) -> InstaFacePipeline:
    """A tiny pipeline whose guidance is not silent any more."""
    parts = tiny_networks(seed, **changes)
    for zero in (*parts.guidance_network.zero_down, parts.guidance_network.zero_mid):
        torch.nn.init.normal_(zero.weight, std=0.3)
    torch.nn.init.normal_(parts.guidance_network.conv_in.weight, std=0.1)
    parts.vae.set_linear(pictures(8, seed=9))
    pipeline = InstaFacePipeline(**vars(parts), size=64, steps=2, strength=0.6)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def pictures(batch: int, seed: int) -> torch.Tensor:
    coarse = torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(-1, 1)


def inputs(batch: int = 1) -> dict:
    names = ("normals", "albedo", "rendering", "appearance", "coverage")
    return {
        "maps": {name: pictures(batch, k) for k, name in enumerate(names)},
        "source": pictures(1, 20),
        "face_embedding": torch.randn(1, 8, generator=torch.Generator().manual_seed(21)),
        "draft": pictures(batch, 22),
    }


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_same_seed_gives_the_same_picture_and_another_seed_another():
    pipeline = make()
    first, again, other = (pipeline(**inputs(), generator=seeded(k), output_type="np").images for k in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.shape == (1, 64, 64, 3)


@pytest.mark.parametrize(
    "name",
    [
        "DDIMScheduler",
        "DDPMScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "HeunDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
        "LCMScheduler",
    ],
)
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_any_scheduler_works_from_the_draft_and_from_noise(name, strength):
    pipeline = make()
    options = dict(pipeline.scheduler.config, rescale_betas_zero_snr=False, timestep_spacing="leading")
    options.pop("clip_sample")
    pipeline.scheduler = getattr(diffusers, name).from_config(options)
    seen = []
    image = pipeline(
        **inputs(),
        num_inference_steps=3,
        strength=strength,
        generator=seeded(),
        output_type="pt",
        callback_on_step_end=lambda p, i, t, tensors: seen.append(t) or {},
    ).images
    assert torch.isfinite(image).all()
    assert len(seen) == len(pipeline.scheduler.timesteps[-3 * pipeline.scheduler.order :]) or name.startswith("Heun")
    assert float(seen[0]) < 1000 * strength


def test_without_noise_a_draft_always_gives_the_same_picture():
    shown = {}
    for noise in (0.0, 1.0):
        pipeline = make()
        pipeline.register_to_config(noise=noise)
        shown[noise] = [pipeline(**inputs(), generator=seeded(k), output_type="pt").images for k in range(2)]
    assert torch.equal(*shown[0.0]) and not torch.equal(*shown[1.0])


def test_maps_tokens_and_their_strengths_matter():
    pipeline = make()

    def run(**changes: object) -> torch.Tensor:
        return pipeline(**{**inputs(), **changes}, generator=seeded(), output_type="pt").images

    plain = run()
    assert not torch.equal(plain, run(maps={**inputs()["maps"], "normals": pictures(1, 50)}))
    assert not torch.equal(plain, run(source=pictures(1, 51)))
    assert not torch.equal(plain, run(face_embedding=None))
    assert not torch.equal(plain, run(conditioning_scale=0.3))
    assert not torch.equal(plain, run(guidance_scale=2.0))
    assert not torch.equal(plain, run(map_guidance_scale=2.0))
    torch.testing.assert_close(
        run(conditioning_scale=0.0), run(conditioning_scale=0.0, maps={"albedo": pictures(1, 5)})
    )


def test_guidance_evaluates_no_more_than_it_needs_and_its_weights_sum_to_one():
    for scales, n in (((1, 1), 1), ((3, 1), 2), ((2, 2), 2), ((1, 3), 3), ((3, 2), 3), ((0, 1), 1), ((0, 0), 1)):
        branches = guidance_branches(*scales)
        assert len(branches) == n, scales
        assert sum(branch.weight for branch in branches) == pytest.approx(1)
    assert guidance_branches(0, 0)[0].maps is False


def test_a_batch_of_edits_is_the_edits_one_by_one():
    pipeline, both = make(), inputs(2)
    together = pipeline(**both, generator=[seeded(0), seeded(1)], output_type="pt", guidance_scale=1.5).images
    for k in range(2):
        alone = {**both, "maps": {n: m[k : k + 1] for n, m in both["maps"].items()}, "draft": both["draft"][k : k + 1]}
        image = pipeline(**alone, generator=[seeded(k)], output_type="pt", guidance_scale=1.5).images
        torch.testing.assert_close(image[0], together[k], atol=1e-4, rtol=0)


def test_outside_of_the_region_the_draft_stays_and_at_its_ends_it_fades():
    pipeline, given = make(), inputs()
    region = torch.linspace(-1, 1, 64).clamp(min=0).expand(1, 1, 64, 64)
    whole, part = (
        pipeline(**given, region=r, generator=seeded(), output_type="pt", return_dict=False) for r in (None, region)
    )
    assert torch.equal(part[0][..., :32], given["draft"][..., :32] / 2 + 0.5)
    torch.testing.assert_close(part[1], region * whole[1])
    assert part[1][..., 48:].abs().max() > 0.01


def test_a_result_that_equals_the_draft_leaves_it_untouched_by_the_autoencoder():
    pipeline, given = make(), inputs()
    start = {}

    def keep_draft(p, i, t, tensors):
        start["latents"] = p.vae.encode(given["draft"]).latents
        return {"latents": start["latents"]}

    image = pipeline(**given, output_type="pt", callback_on_step_end=keep_draft).images
    torch.testing.assert_close(image, given["draft"] / 2 + 0.5, atol=1e-6, rtol=0)
    assert (pipeline.vae(given["draft"]).sample - given["draft"]).abs().max() > 0.01


def test_output_types_and_the_tuple():
    pipeline = make()
    assert pipeline(**inputs(), output_type="pil").images[0].size == (64, 64)
    assert pipeline(**inputs(), output_type="latent").images.shape == (1, 4, 8, 8)
    images, correction = pipeline(**inputs(), output_type="pt", return_dict=False)
    assert images.shape == correction.shape == (1, 3, 64, 64)


def test_it_runs_in_bfloat16_and_without_a_draft():
    pipeline = make()
    pipeline.to(torch.bfloat16)
    given = inputs()
    del given["draft"]
    result = pipeline(**given, generator=seeded(), output_type="pt")
    assert torch.isfinite(result.images).all() and result.correction is None


def test_it_saves_and_loads_with_its_settings(tmp_path):
    pipeline = make()
    pipeline.save_pretrained(tmp_path, max_shard_size="10KB")
    again = InstaFacePipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert again.config.strength == 0.6 and again.config.steps == 2 and again.config.size == 64
    images = [p(**inputs(), generator=seeded(), output_type="pt").images for p in (pipeline, again)]
    torch.testing.assert_close(*images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strength": 1.5}, "strength 1.5"),
        ({"draft": torch.zeros(1, 3, 32, 32)}, "one size"),
        ({"source": torch.zeros(3, 3, 64, 64)}, "batch of 3"),
        ({"maps": {}}, "maps and draft"),
        ({"callback_on_step_end_tensor_inputs": ("noise",)}, "noise"),
    ],
)
def test_inputs_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        make()(**{**inputs(), **changes})
