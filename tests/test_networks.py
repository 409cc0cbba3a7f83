"""The networks: shapes, what they start as, what they share with the published ones."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from diffusers import UNet2DConditionModel
from pydantic import ValidationError

from instaface.diffusion.autoencoder import Autoencoder
from instaface.diffusion.config import ModelConfig, build
from instaface.diffusion.cost import cost_table, edit_cost, macs
from instaface.diffusion.fusion import FusionController
from instaface.diffusion.guidance import GuidanceNetwork
from instaface.diffusion.identity import IdentityPreserver, patch_tokens
from instaface.diffusion.latents import decode, encode
from tiny_model import tiny_config, tiny_networks

CONFIGS = Path(__file__).parent.parent / "configs"


def load(name: str, **changes: object) -> ModelConfig:
    return ModelConfig(**{**yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["model"], **changes})


def pictures(batch: int = 2, size: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def public(config: dict) -> dict:
    """A configuration as JSON would have it, without diffusers' own notes."""
    return json.loads(json.dumps({key: value for key, value in config.items() if not key.startswith("_")}))


@pytest.mark.parametrize("mode", ["sum", "stack"])
def test_the_fusion_controller_has_no_parameters_and_saves_no_weights(mode, tmp_path):
    controller = FusionController(("normals", "albedo"), mode)
    assert sum(1 for _ in controller.parameters()) == 0
    assert not controller.state_dict()
    controller.save_pretrained(tmp_path)
    again = FusionController.from_pretrained(tmp_path)
    assert again.maps == ("normals", "albedo") and again.config["mode"] == mode
    assert controller.device.type == "cpu" and controller.to(torch.float16).dtype == torch.float16


def test_a_sum_of_independent_latents_keeps_their_variance_whatever_is_dropped():
    controller = FusionController(("normals", "albedo", "rendering"), "sum")
    latents = torch.randn(3, 3, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    present = torch.tensor([[1.0, 1, 1], [1, 0, 1], [0, 0, 0]])
    fused = controller.fuse(latents, present)
    assert fused.shape == (3, 4, 64, 64)
    torch.testing.assert_close(fused.var((1, 2, 3)), torch.tensor([1.0, 1.0, 0.0]), atol=0.03, rtol=0)


def test_a_stack_puts_each_map_in_its_place_and_zeros_for_missing_ones():
    parts = tiny_networks()
    maps = {"albedo": pictures(seed=1), "normals": pictures(seed=2), "unheard of": pictures(seed=3)}
    fused = parts.fusion_controller(maps, parts.vae)
    assert fused.shape == (2, 5 * 4, 8, 8)
    torch.testing.assert_close(fused[:, :4], encode(parts.vae, maps["normals"]))
    torch.testing.assert_close(fused[:, 4:8], encode(parts.vae, maps["albedo"]))
    assert not fused[:, 8:].any()
    with pytest.raises(ValueError, match="no map to fuse"):
        parts.fusion_controller({"unheard of": pictures()}, parts.vae)


@pytest.mark.parametrize("mode", ["sum", "stack"])
def test_the_guidance_network_changes_nothing_at_first_and_something_after_a_step(mode):
    parts = tiny_networks(fusion=mode)
    sample, step, tokens = torch.randn(2, 4, 8, 8), torch.tensor([7, 900]), torch.randn(2, 5, 16)
    conditional = torch.randn(2, 4 if mode == "sum" else 20, 8, 8)
    alone = parts.unet(sample, step, tokens).sample
    guided = parts.unet(sample, step, tokens, **parts.guidance_network(sample, step, tokens, conditional)).sample
    assert torch.equal(alone, guided)
    optimizer = torch.optim.SGD(parts.guidance_network.parameters(), lr=0.1)
    guided.square().mean().backward()
    optimizer.step()
    after = parts.unet(sample, step, tokens, **parts.guidance_network(sample, step, tokens, conditional)).sample
    assert not torch.allclose(alone, after)


def test_the_guidance_network_starts_as_a_copy_of_the_encoder():
    parts = tiny_networks()
    theirs, ours = parts.unet.state_dict(), parts.guidance_network.state_dict()
    for key, value in ours.items():
        if key == "conv_in.weight":
            assert torch.equal(value[:, :4], theirs[key]) and not value[:, 4:].any()
        elif not key.startswith("zero_"):
            assert torch.equal(value, theirs[key]), key
        else:
            assert not value.any()


def test_guidance_residuals_scale_with_the_strength_asked_for():
    parts = tiny_networks()
    for parameter in parts.guidance_network.zero_mid.parameters():
        torch.nn.init.normal_(parameter)
    arguments = torch.randn(1, 4, 8, 8), torch.tensor(3), torch.randn(1, 5, 16), torch.randn(1, 20, 8, 8)
    whole = parts.guidance_network(*arguments).mid_block_additional_residual
    half = parts.guidance_network(*arguments, conditioning_scale=0.5).mid_block_additional_residual
    assert whole.abs().max() > 0
    torch.testing.assert_close(half, whole / 2)


def test_the_identity_preserver_works_with_and_without_a_face_and_drops_what_it_is_told_to():
    torch.manual_seed(0)
    preserver = IdentityPreserver(vision_width=16, face_width=8, cross_attention_dim=12, face_tokens=3)
    patches, face = torch.randn(2, 5, 16), torch.randn(2, 8)
    assert preserver(patches).shape == (2, 5, 12)
    tokens = preserver(patches, face)
    assert tokens.shape == (2, 8, 12)
    torch.testing.assert_close(tokens[:, :5], preserver(patches))
    torch.testing.assert_close(tokens, preserver(patches, 7 * face))  # the recogniser's scale does not matter
    dropped = preserver(patches, face, keep=torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(dropped[0], tokens[0])
    torch.testing.assert_close(dropped[1], preserver(patches * 0, face * 0)[1])


def test_patch_tokens_leave_out_the_class_token_and_resize():
    parts = tiny_networks()
    assert patch_tokens(parts.image_encoder, pictures(), -1).shape == (2, 4, 16)
    assert patch_tokens(parts.image_encoder, pictures(), -2).shape == (2, 4, 16)


@pytest.mark.parametrize("name", ["vae", "unet", "guidance_network", "fusion_controller", "identity_preserver"])
def test_every_network_saves_and_loads(name, tmp_path):
    part = tiny_networks().modules()[name]
    part.save_pretrained(tmp_path)
    again = type(part).from_pretrained(tmp_path, torch_dtype=torch.float16)
    assert public(again.config) == public(part.config)
    for key, value in part.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value.half())


def test_gradient_checkpointing_gives_the_same_gradients():
    network = tiny_networks().guidance_network.train()
    for zero in (*network.zero_down, network.zero_mid):
        torch.nn.init.ones_(zero.weight)
    arguments = torch.randn(1, 4, 8, 8), torch.tensor(3), torch.randn(1, 5, 16), torch.randn(1, 20, 8, 8)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            network.enable_gradient_checkpointing()
        network.zero_grad()
        network(*arguments).mid_block_additional_residual.square().sum().backward()
        gradients.append(network.conv_in.weight.grad.clone())
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)


def test_networks_compile_without_graph_breaks():
    parts = tiny_networks()
    arguments = torch.randn(1, 4, 8, 8), torch.tensor(3), torch.randn(1, 5, 16), torch.randn(1, 20, 8, 8)
    compiled = torch.compile(parts.guidance_network, backend="eager", fullgraph=True)
    torch.testing.assert_close(
        compiled(*arguments).mid_block_additional_residual,
        parts.guidance_network(*arguments).mid_block_additional_residual,
    )
    patches, face = torch.randn(2, 4, 16), torch.randn(2, 8)
    compiled = torch.compile(parts.identity_preserver, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(patches, face), parts.identity_preserver(patches, face))
    compiled = torch.compile(parts.vae, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(pictures()).sample, parts.vae(pictures()).sample)
    compiled = torch.compile(parts.fusion_controller.fuse, backend="eager", fullgraph=True)
    latents, present = torch.randn(1, 5, 4, 8, 8), torch.ones(1, 5)
    torch.testing.assert_close(compiled(latents, present), parts.fusion_controller.fuse(latents, present))


# The figures are those of the published Stable Diffusion 1.5 and CLIP ViT-L/14 checkpoints and of ControlNet.
def test_full_size_agrees_with_the_published_checkpoints():
    with torch.device("meta"):
        parts = build(load("full"))
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.modules().items()}
    assert count["unet"] == 859_520_964 and len(parts.unet.state_dict()) == 686
    assert count["vae"] == 83_653_863 and len(parts.vae.state_dict()) == 248
    assert count["image_encoder"] == 303_179_776
    assert count["fusion_controller"] == 0
    copied = {k: v for k, v in parts.guidance_network.state_dict().items() if not k.startswith("zero_")}
    assert len(copied) == 298 and sum(v.numel() for v in copied.values()) == 348_712_960
    assert copied.keys() <= parts.unet.state_dict().keys()
    assert len(parts.guidance_network.state_dict()) == 298 + 2 * 13


def test_stack_widens_the_guidance_networks_first_convolution_and_nothing_else():
    with torch.device("meta"):
        unet = UNet2DConditionModel(**load("full").unet)
        summed, stacked = GuidanceNetwork.from_unet(unet), GuidanceNetwork.from_unet(unet, extra_channels=12)
    theirs = {key: value.shape for key, value in summed.state_dict().items()}
    differ = {key for key, value in stacked.state_dict().items() if value.shape != theirs[key]}
    assert differ == {"conv_in.weight"}
    assert stacked.conv_in.weight.shape == (320, 4 + 12, 3, 3)
    unet_shapes = {key: value.shape for key, value in unet.state_dict().items()}
    assert all(unet_shapes[key] == shape for key, shape in theirs.items() if not key.startswith("zero_"))


def test_the_embedded_model_keeps_its_budget():
    costs = edit_cost(load("mini"))
    print("\n" + cost_table(costs))
    assert sum(c.total for c in costs) <= 100e9
    assert sum(c.parameters for c in costs) * 2 <= 48e6
    assert load("mini").steps <= 8


def test_the_counter_counts_a_convolution_as_one_does_by_hand():
    with torch.device("meta"):
        convolution = torch.nn.Conv2d(3, 5, 3, padding=1)
        assert macs(lambda: convolution(torch.zeros(2, 3, 16, 16))) == 2 * 16 * 16 * 5 * 3 * 9


def test_a_config_refuses_what_it_does_not_know_and_what_does_not_fit():
    for changes, message in (
        ({"stepz": 3}, "stepz"),
        ({"maps": ("normals", "depth")}, "depth"),
        ({"vae": {"latent_channels": 8}}, "unet.in_channels is 4"),
        ({"unet": {**tiny_config().unet, "widths": 3}}, "widths"),
        ({"vision": {**tiny_config().vision, "width": 3}}, "width"),
        ({"identity": {**tiny_config().identity, "vision_width": 3}}, "identity.vision_width"),
    ):
        with pytest.raises(ValidationError, match=message):
            tiny_config(**changes)


def smooth_pictures(batch: int) -> torch.Tensor:
    """Random gradients with a few random edges: compressible, as photos are."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(batch, 3, 5, 5, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (64, 64), mode="bilinear")


def test_the_autoencoder_starts_at_its_linear_codes_quality_and_learns_from_there():
    torch.manual_seed(0)
    model = Autoencoder(4, (8, 16), (8, 16), (0, 1), (0, 1))
    data = smooth_pictures(32)
    variances = model.set_linear(data)
    error = (model(data).sample - data).square().mean()
    # What a linear code loses is what it leaves out: the variance of the other components.
    torch.testing.assert_close(error, variances[4:].sum() / 192, rtol=1e-3, atol=1e-6)
    latents = encode(model, data)
    torch.testing.assert_close(latents.var((0, 2, 3)), torch.ones(4), rtol=0.02, atol=0)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(30):
        optimizer.zero_grad()
        loss = (model(data).sample - data).square().mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.7 * error


def test_normalising_the_latents_leaves_the_round_trip_as_it_is():
    torch.manual_seed(0)
    model = Autoencoder(4, (8, 16), (8, 16), (0, 1), (0, 1))
    data = smooth_pictures(8)
    before = model(data).sample
    model.set_normalization(data)
    torch.testing.assert_close(decode(model, encode(model, data)), before, atol=1e-5, rtol=1e-4)
    latents = encode(model, data)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)


def test_tiles_give_the_same_codes_and_pictures_as_the_whole():
    torch.manual_seed(0)
    model = Autoencoder(4, (8, 16), (8, 16), (1, 2), (2, 3))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    wide = pictures(1, 8 * 150)[..., : 8 * 70, :]
    whole = encode(model, wide)
    picture = decode(model, whole)
    model.enable_tiling()
    torch.testing.assert_close(encode(model, wide), whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(decode(model, whole), picture, atol=1e-4, rtol=1e-4)
