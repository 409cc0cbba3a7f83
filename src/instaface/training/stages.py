"""What each stage trains, and on which loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from instaface.diffusion.config import Networks
from instaface.diffusion.identity import patch_tokens
from instaface.diffusion.latents import decode, encode, scale_factor
from instaface.training.adversarial import ProjectedDiscriminator, adversarial_losses
from instaface.training.cache import MAP
from instaface.training.config import AutoencoderStageConfig, DiffusionStageConfig
from instaface.training.draws import noise_for
from instaface.training.features import FeatureNetwork, in_units_of, perceptual_loss
from instaface.training.losses import (
    brightness_and_colour,
    clean_of,
    detail_error,
    grid_error,
    identity_loss,
    laplacian,
    local_amplitude,
    min_snr_weights,
    pattern_error,
    psnr,
    target_of,
)
from instaface.training.samples import MASKS

Batch = Mapping[str, Any]

DECODER = ("decoder.", "linear_decoder.")  # the autoencoder's weights that are not its encoder's
ENERGY_WINDOWS = (16, 64)  # sides in pixels of the windows over which detail is compared by its amplitude
ALIGNED = 32  # pixels that one cell of the U-Net's coarsest level covers; crops begin at whole cells


class Stage(Protocol):
    """A module whose forward pass is the loss of a batch, so that a distributed wrapper goes around all of it."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """``loss`` to minimise, and further figures to log; scalars."""

    def validate(self, batch: Batch) -> dict[str, float]:
        """Figures on a validation batch; ``score`` says which model is best, higher is better."""


class AutoencoderStage(nn.Module):
    """The autoencoder learns to reconstruct ``photo`` (B, 3, S, S)."""

    def __init__(self, networks: Networks, options: AutoencoderStageConfig) -> None:
        super().__init__()
        self.vae: Any = networks.vae
        self.options = options
        for name, parameter in self.vae.named_parameters():
            parameter.requires_grad_(not options.decoder_only or name.startswith(DECODER))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        photo = batch["photo"]
        latents = encode(self.vae, photo)
        if self.options.latent_noise:
            generators = noise_for(batch["draw"], self.options.seed)
            noise = torch.stack([torch.randn(latents.shape[1:], generator=g) for g in generators])
            latents = latents + self.options.latent_noise * noise.to(latents)
        result = decode(self.vae, latents).float()
        error = (result - photo).square().mean()
        detail, asked = laplacian(result), laplacian(photo)
        loss = error + self.options.laplacian_weight * (detail - asked).square().mean()
        figures = {"error": error.detach()}
        if self.options.energy_weight:
            energy = energy_error(detail, asked)
            loss = loss + self.options.energy_weight * energy
            figures["energy_error"] = energy.detach()
        # The error is about a thousandth: times 1000 the loss is about one.
        return {"loss": 1000 * loss, **figures}

    @torch.no_grad()
    def validate(self, batch: Batch) -> dict[str, float]:
        """Mean PSNR, share of the Laplacian's energy that is kept, largest mean shift of a colour channel."""
        photo = batch["photo"]
        result = torch.cat([self.vae(part).sample.float() for part in photo.split(1)]).clamp(-1, 1)
        score = float(psnr(result, photo).mean())
        return {
            "score": score,
            "psnr": score,
            "laplacian_energy": float(laplacian(result).square().mean() / laplacian(photo).square().mean()),
            "colour_shift_of_255": float((result - photo).mean((2, 3)).abs().mean() * 127.5),
        }


def energy_error(detail: Tensor, asked: Tensor) -> Tensor:
    """Squared error of the local amplitude of detail, (B, 3, H, W) RGB; wherever in a window the detail lies.

    Of brightness and colour apart: channels that each had the right amount at other places would be coloured specks.
    """
    detail, asked = brightness_and_colour(detail), brightness_and_colour(asked)
    pairs = [(local_amplitude(detail, window), local_amplitude(asked, window)) for window in ENERGY_WINDOWS]
    return torch.stack([(found - wanted).square().mean() for found, wanted in pairs]).mean()


class DiffusionStage(nn.Module):
    """The networks learn to denoise the latent of ``photo`` under ``maps`` and the tokens of ``source`` and ``face``.

    Stage 1 trains both U-Nets and the semantic projection, without the face; stage 2 the whole Identity Preserver and
    the cross-attention layers.

    Batch: ``photo`` (B, 3, S, S), ``maps`` name to (B, 3, S, S), ``source`` (B, 3, S, S), ``face`` (B, F),
    ``draw`` (B,), and where there are such, ``draft`` (B, 3, S, S), ``region`` (B, 1, S, S) of it that is worked over,
    ``given`` name to (B,), 0 where a sample has no such map, and ``weight`` (B, 1, S, S) of the error at each place.
    Latents of photo, draft and maps may come with them, see :class:`instaface.training.cache.CachedLatents`.
    """

    def __init__(self, networks: Networks, options: DiffusionStageConfig, with_face: bool) -> None:
        super().__init__()
        self.networks: Any = nn.ModuleDict(networks.modules())
        self.scheduler: Any = networks.scheduler
        self.options, self.with_face = options, with_face
        self.recogniser: Any = load_differentiable(options) if options.identity_weight else None
        if options.gradient_checkpointing:
            networks.unet.enable_gradient_checkpointing()
            networks.guidance_network.enable_gradient_checkpointing()
        self.requires_grad_(False)
        for module in self._learning():
            module.requires_grad_(True)
        compares = options.adversarial_weight or options.perceptual_weight
        self.features = FeatureNetwork() if compares else None
        self.looks = bool(compares or options.detail_weight or options.grid_weight)
        self.discriminator = ProjectedDiscriminator() if options.adversarial_weight else None
        for name, parameter in self.networks["image_encoder"].named_parameters():
            if "post_layernorm" in name:  # it sees the class token alone, which is not used
                parameter.requires_grad_(False)

    def _learning(self) -> list[nn.Module]:
        """The modules that this stage trains."""
        n = self.networks
        preserver = n["identity_preserver"]
        more = [n["image_encoder"]] if self.options.train_vision else []
        if self.options.train_decoder:
            more += [getattr(n["vae"], name.removesuffix(".")) for name in DECODER]
        if not self.with_face:
            return [n["unet"], n["guidance_network"], preserver.semantic, preserver.semantic_norm, *more]
        unets = (*n["unet"].named_modules(), *n["guidance_network"].named_modules())
        return [preserver, *(module for path, module in unets if path.endswith("attn2")), *more]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        n, draws = self.networks, noise_for(batch["draw"], self.options.seed)
        batch = self._cropped(batch, draws)
        latents, start, maps, present = self._encoded(batch)
        # All that is random about a sample comes from its own generator.
        low, high = self.options.timesteps
        timesteps = torch.stack([torch.randint(low, high + 1, (), generator=g) for g in draws]).to(latents.device)
        noise = torch.stack([torch.randn(latents.shape[1:], generator=g) for g in draws]).to(latents)
        present = present * torch.stack([self._kept_maps(present.shape[1], g) for g in draws]).to(present)
        if "given" in batch:
            present = present * torch.stack([batch["given"][name] for name in n["fusion_controller"].maps], 1)
        keep = torch.stack([torch.rand((), generator=g) >= self.options.drop_identity for g in draws]).to(latents)

        noisy = self.scheduler.add_noise(start, self.options.noise * noise, timesteps)  # (B, C, h, w)
        tokens = self._tokens(batch, keep)  # (B, N, D)
        prediction = self._predict(noisy, timesteps, tokens, n["fusion_controller"].fuse(maps, present))
        difference = prediction - target_of(self.scheduler, latents, noisy, timesteps)
        error = difference.square() if self.options.error == "squared" else difference.abs()
        error = error * F.adaptive_avg_pool2d(self._weight(batch), (error.shape[2], error.shape[3]))
        loss = (error.mean((1, 2, 3)) * min_snr_weights(self.scheduler, timesteps, self.options.snr_gamma)).mean()
        figures = {"loss": loss, "error": error.mean().detach()}
        clean = clean_of(self.scheduler, prediction, noisy, timesteps)
        if self.recogniser is not None:
            identity = self._identity(clean, batch, timesteps)
            figures |= {"loss": loss + self.options.identity_weight * identity, "identity": identity.detach()}
        if self.looks and self.training:
            figures = self._looked_at(figures, batch, clean, start, draws)
        return figures

    def _weight(self, batch: Batch) -> Tensor:
        """(B, 1, S, S), how much the error counts at each place of the pictures."""
        weight = batch.get("weight", torch.ones_like(batch["photo"][:, :1]))
        if self.options.start == "photo":
            return weight
        return weight * (self.options.seen_weight + (1 - self.options.seen_weight) * batch["region"])

    def _looked_at(
        self, figures: dict[str, Tensor], batch: Batch, clean: Tensor, start: Tensor, draws: list[torch.Generator]
    ) -> dict[str, Tensor]:
        """The figures with the losses of pictures: what the pipeline would show in the region, the photo around it."""
        vae, options = self.networks["vae"], self.options
        region = batch["region"] * batch.get("weight", 1.0)
        # What is not looked at need not be decoded, which costs most of a step.
        seen = _windows(region, options.window, draws, region, batch["photo"], batch["draft"], clean, start)
        region, photo, draft, clean, start = seen
        with torch.set_grad_enabled(options.train_decoder):
            before = decode(vae, start).float()
        added, patch = decode(vae, clean).float() - before, scale_factor(vae)
        made = photo + region * (draft + added - photo)
        detail = detail_error(made, photo, region)
        grid = grid_error(made, region, patch) + pattern_error(added, region, patch)
        loss = figures["loss"] + options.detail_weight * detail + options.grid_weight * grid
        figures |= {"detail": detail.detach(), "grid": grid.detach()}
        if options.train_decoder:
            given_back = (before - draft).abs().mean()
            loss = loss + options.decoder_weight * given_back
            figures |= {"given_back": given_back.detach()}
        figures |= {"loss": loss}
        return figures if self.features is None else self._compared(figures, made, photo, region)

    def _compared(self, figures: dict[str, Tensor], made: Tensor, photo: Tensor, region: Tensor) -> dict[str, Tensor]:
        """The figures with the losses of features, of what was made in the region."""
        assert self.features is not None
        with torch.no_grad():
            wanted = self.features(photo)
        found, wanted = in_units_of(self.features(made), wanted), in_units_of(wanted, wanted)
        perceptual = perceptual_loss(found, wanted, region)
        loss = figures["loss"] + self.options.perceptual_weight * perceptual
        figures |= {"perceptual": perceptual.detach()}
        if self.discriminator is not None:
            deceiving, telling = adversarial_losses(self.discriminator, found, wanted, region)
            loss = loss + self.options.adversarial_weight * deceiving + telling
            figures |= {"deceiving": deceiving.detach(), "telling": telling.detach()}
        return {**figures, "loss": loss}

    @torch.no_grad()
    def _encoded(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latents of the photo, of what denoising starts from, and of the maps, and which maps there are."""
        vae, fusion, from_photo = (
            self.networks["vae"],
            self.networks["fusion_controller"],
            self.options.start == "photo",
        )
        if "latents" in batch:
            kept = batch["latents"]
            maps = torch.stack([kept[MAP + name] for name in fusion.maps], 1)
            return kept["photo"], kept["photo" if from_photo else "draft"], maps, maps.new_ones(maps.shape[:2])
        latents = encode(vae, batch["photo"]).float()
        start = latents if from_photo else encode(vae, batch["draft"]).float()
        return latents, start, *fusion.encode(batch["maps"], vae)

    def _cropped(self, batch: Batch, draws: list[torch.Generator]) -> Batch:
        """Squares of the batch's pictures, each about a place that was drawn: what is to be learned comes six times as
        often."""
        side, size = self.options.crop, batch["photo"].shape[-1]
        if side is None or side >= size:
            return batch
        wanted = 0.2 + batch.get("region", torch.ones_like(batch["photo"][:, :1])) * batch.get("weight", 1.0)
        corners = _corners(wanted, side, draws)
        cropped: dict[str, Any] = {
            name: _cut(batch[name], size, side, corners) for name in ("photo", "draft", *MASKS) if name in batch
        }
        groups = {name: batch[name] for name in ("maps", "latents") if name in batch}
        return {
            **batch,
            **cropped,
            **{key: {k: _cut(v, size, side, corners) for k, v in group.items()} for key, group in groups.items()},
        }

    def _kept_maps(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) which maps a sample is given."""
        chances = torch.rand(count + 1, generator=generator)
        return (chances[:count] >= self.options.drop_map) & (chances[count] >= self.options.drop_maps)

    def _tokens(self, batch: Batch, keep: Tensor) -> Tensor:
        preserver = self.networks["identity_preserver"]
        patches = patch_tokens(self.networks["image_encoder"], batch["source"], preserver.config["vision_layer"])
        return preserver(patches, batch["face"] if self.with_face else None, keep)

    def _predict(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor, conditional: Tensor) -> Tensor:
        residuals = self.networks["guidance_network"](noisy, timesteps, tokens, conditional)
        return self.networks["unet"](noisy, timesteps, tokens, **residuals).sample.float()

    def _identity(self, latents: Tensor, batch: Batch, timesteps: Tensor) -> Tensor:
        """Identity loss of the predicted clean picture, weighted by how little noise there was."""
        assert self.recogniser is not None
        found = self.recogniser(decode(self.networks["vae"], latents).clamp(-1, 1))
        with torch.no_grad():
            asked = self.recogniser(batch["photo"])
        weight = self.scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
        return (identity_loss(found, asked) * weight).mean()

    @torch.no_grad()
    def validate(self, batch: Batch) -> dict[str, float]:
        """The loss with the noise levels, noise and dropped conditions that belong to the samples."""
        loss = float(self(batch)["loss"])
        return {"score": -loss, "loss": loss}


def _corners(wanted: Tensor, side: int, draws: list[torch.Generator]) -> list[tuple[int, int]]:
    """Corners, top and left, of a square about a random place of each picture, drawn by (B, 1, S, S) weights."""
    size = wanted.shape[-1]
    cells = F.adaptive_avg_pool2d(wanted, size // ALIGNED).flatten(1).cpu()  # (B, cells)
    corners = []
    for chances, generator in zip(cells, draws, strict=True):
        middle = divmod(int(torch.multinomial(chances, 1, generator=generator)), size // ALIGNED)
        top, left = (min(max(ALIGNED * k - side // 2, 0), size - side) for k in middle)
        corners.append((top, left))
    return corners


def _cut(pictures: Tensor, size: int, side: int, corners: list[tuple[int, int]]) -> Tensor:
    """Squares of (B, C, S, S) pictures, or of what has one cell for several pixels of theirs."""
    step = size // pictures.shape[-1]
    squares = [
        picture[:, top // step : (top + side) // step, left // step : (left + side) // step]
        for picture, (top, left) in zip(pictures, corners, strict=True)
    ]
    return torch.stack(squares)


def _windows(wanted: Tensor, side: int, draws: list[torch.Generator], *pictures: Tensor) -> list[Tensor]:
    """The same square of ``side`` pixels of all of some (B, C, S, S) pictures and latents, about a place that is
    wanted."""
    size = wanted.shape[-1]
    if side >= size:
        return list(pictures)
    corners = _corners(wanted + 0.01, side, draws)
    return [_cut(p, size, side, corners) for p in pictures]


def load_differentiable(options: DiffusionStageConfig) -> nn.Module:
    """The recogniser of the identity loss: (B, 3, S, S) in -1..1 to (B, F), frozen."""
    from instaface.errors import InstaFaceError
    from instaface.training.recogniser import SmallRecogniser

    if options.recogniser is None or not (options.recogniser / "config.json").is_file():
        raise InstaFaceError(
            f"identity_weight is {options.identity_weight}, but recogniser {options.recogniser} is no folder of one"
        )
    return SmallRecogniser.from_pretrained(options.recogniser).requires_grad_(False)
