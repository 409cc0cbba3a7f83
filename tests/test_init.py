"""The full-size model from published weights: files of their structure, at a few channels."""

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

from instaface.diffusion.pipeline import InstaFacePipeline
from instaface.errors import InstaFaceError
from instaface.training.config import TrainingConfig, dump_config
from instaface.training.init import init_model
from tiny_model import tiny_config


@pytest.fixture
def published(tmp_path):
    """A Stable Diffusion 1.x folder and a CLIP folder."""
    torch.manual_seed(0)
    base, vision = tmp_path / "base", tmp_path / "clip"
    widths = (32, 32, 64, 64)
    UNet2DConditionModel(
        sample_size=8, block_out_channels=widths, cross_attention_dim=24, attention_head_dim=8
    ).save_pretrained(base / "unet")
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths,
        scaling_factor=0.18215,
    ).save_pretrained(base / "vae")
    PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, skip_prk_steps=True
    ).save_pretrained(base / "scheduler")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    clip = CLIPModel(
        CLIPConfig(
            text_config={**small, "vocab_size": 50},
            vision_config={**small, "image_size": 56, "patch_size": 14},
            projection_dim=12,
        )
    )
    clip.save_pretrained(vision)
    return base, vision, clip


def run(pipeline: InstaFacePipeline, **options: object) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1
    maps = {"normals": picture, "albedo": picture.flip(-1), "rendering": picture.flip(-2)}
    face = torch.randn(1, pipeline.identity_preserver.config.face_width, generator=generator)
    return pipeline(maps, picture, face, num_inference_steps=2, generator=generator, output_type="pt", **options).images


def test_the_model_is_made_of_the_published_weights_and_its_guidance_is_silent(published, tmp_path):
    base, vision, clip = published
    init_model(str(base), str(vision), "arcface", tmp_path / "model")
    pipeline = InstaFacePipeline.from_pretrained(tmp_path / "model")
    theirs = UNet2DConditionModel.from_pretrained(base / "unet").state_dict()
    for key, value in pipeline.unet.state_dict().items():
        assert torch.equal(value, theirs[key])
    for key, value in pipeline.image_encoder.state_dict().items():
        assert torch.equal(value, clip.vision_model.state_dict()[key.removeprefix("vision_model.")]), key
    assert pipeline.scheduler.config.prediction_type == "epsilon" and pipeline.scheduler.config.steps_offset == 1
    assert pipeline.config.recogniser == "arcface"
    assert torch.equal(run(pipeline), run(pipeline, conditioning_scale=0.0))


def test_maps_and_fusion_come_from_the_config(published, tmp_path):
    base, vision, _ = published
    config = tmp_path / "stack.yaml"
    config.write_text(dump_config(TrainingConfig(model=tiny_config(maps=("albedo", "appearance"), fusion="stack"))))
    init_model(str(base), str(vision), "dlib", tmp_path / "model", config)
    pipeline = InstaFacePipeline.from_pretrained(tmp_path / "model")
    assert pipeline.fusion_controller.maps == ("albedo", "appearance")
    assert pipeline.guidance_network.conv_in.in_channels == 4 + 8
    assert pipeline.identity_preserver.config.face_width == 128


def test_weights_that_are_not_there_are_named_with_where_to_get_them(published, tmp_path, monkeypatch):
    base, vision, _ = published
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = tmp_path / "model"
    for arguments, words in (
        ((str(tmp_path / "nowhere"), str(vision), "arcface", out), ("--base", "Stable Diffusion 1.5", "OpenRAIL-M")),
        ((str(base), str(tmp_path / "nowhere"), "arcface", out), ("--vision", "clip-vit-large-patch14", "MIT")),
        ((str(base), str(vision), "facenet", out), ("facenet", "arcface, dlib")),
    ):
        with pytest.raises(InstaFaceError) as error:
            init_model(*arguments)
        assert "\n" not in str(error.value)
        for word in words:
            assert word in str(error.value)
    assert not out.exists()


def test_a_checkpoint_that_lacks_weights_is_refused(published, tmp_path):
    base, vision, _ = published
    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["conv_out.weight"]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(InstaFaceError, match=r"lacks conv_out\.weight"):
        init_model(str(base), str(vision), "arcface", tmp_path / "model")
