"""Learning one person from one photo: a LoRA adapter for both U-Nets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from peft import LoraConfig, get_peft_model_state_dict
from rich.console import Console
from rich.progress import track as progress
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import default_collate

from instaface.diffusion.config import Networks
from instaface.errors import InstaFaceError
from instaface.photo import read_photo
from instaface.recognise import load_recogniser
from instaface.track.models import FACE_MODELS
from instaface.track.models import face_model as load_face_model
from instaface.training.cache import encoded
from instaface.training.config import PersonalizeConfig, TrainingConfig
from instaface.training.draws import noise_for
from instaface.training.loop import load_networks, to_device
from instaface.training.pair_source import as_sample
from instaface.training.pairs import random_edit, reconstruction, there_and_back
from instaface.training.stages import Batch, DiffusionStage

ADAPTED = ("unet", "guidance_network")
# Attention and the residual blocks' convolutions: in a small U-Net most of what can be adapted is the latter.
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2"]
SAMPLES = 12  # pairs made of the photo before training begins


class PersonalStage(DiffusionStage):
    """The second stage's loss on one person, plus what keeps the model as it was for everybody else.

    Prior preservation (Ruiz et al. 2023, equation 2), with the model as it was as its own prior: without the
    person's tokens the prediction shall stay what it was without the adapter.
    """

    options: PersonalizeConfig

    def __init__(self, networks: Networks, options: PersonalizeConfig) -> None:
        super().__init__(networks, options, with_face=True)
        self.requires_grad_(False)
        for name in ADAPTED:
            config = LoraConfig(r=options.rank, lora_alpha=options.rank, target_modules=TARGETS)
            self.networks[name].add_adapter(config)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        figures = super().forward(batch)
        if not self.options.prior_weight:
            return figures
        prior = self._prior(batch)
        return {**figures, "loss": figures["loss"] + self.options.prior_weight * prior, "prior": prior.detach()}

    def _prior(self, batch: Batch) -> Tensor:
        """Squared change of the prediction that the adapter makes where tokens and maps are dropped.

        At random noise, or for a model that starts from drafts, at the batch's drafts.
        """
        batch = self._cropped(batch, noise_for(batch["draw"], self.options.seed))
        _, start, maps, present = self._encoded(batch)
        generator = torch.Generator().manual_seed(int(batch["draw"][0]))
        noisy = torch.randn(start.shape, generator=generator).to(start)
        timesteps = torch.randint(*self._range(), (len(start),), generator=generator).to(start.device)
        if self.options.start == "draft":
            noisy = self.scheduler.add_noise(start, self.options.noise * noisy, timesteps)
        tokens = self._tokens(batch, start.new_zeros(len(start)))
        conditional = self.networks["fusion_controller"].fuse(maps, torch.zeros_like(present))
        now = self._predict(noisy, timesteps, tokens, conditional)
        for name in ADAPTED:
            self.networks[name].disable_adapters()
        with torch.no_grad():
            before = self._predict(noisy, timesteps, tokens, conditional)
        for name in ADAPTED:
            self.networks[name].enable_adapters()
        return (now - before).square().mean()

    def _range(self) -> tuple[int, int]:
        low, high = self.options.timesteps
        return low, high + 1

    def adapter(self) -> dict[str, Tensor]:
        """The adapter's tensors, half precision, keys starting with the network's name."""
        state: dict[str, Tensor] = {}
        for name in ADAPTED:
            for key, value in get_peft_model_state_dict(self.networks[name]).items():
                state[f"{name}.{key}"] = value.half().contiguous()
        return state


def personalize(
    photo: Path,
    output: Path,
    model: Path,
    config: TrainingConfig,
    face: int = 0,
    face_model: str = FACE_MODELS[0],
) -> Path:
    """Learns a person from one photo and edits of it.

    Args:
        photo: the photo.
        output: safetensors file to write.
        model: a pipeline's folder.
        config: with a section ``personalize``.
        face: which of the photo's faces, largest first.
        face_model: "openhead", or "flame" from the user's files.

    Returns:
        ``output``.

    Raises:
        InstaFaceError: no such face, no such section, or weights that do not fit the config.
    """
    if config.personalize is None:
        raise InstaFaceError("the config has no section 'personalize'")
    networks = load_networks(config.model, model)
    samples = [encoded(sample, networks.vae) for sample in _samples(photo, face, config, face_model)]
    return fit_adapter(samples, output, networks, config.personalize)


def fit_adapter(samples: list[dict[str, Any]], output: Path, networks: Networks, options: PersonalizeConfig) -> Path:
    """Trains an adapter on samples of one person and writes it; see :func:`personalize`."""
    accelerator = Accelerator(mixed_precision=options.mixed_precision)
    torch.manual_seed(options.seed)
    stage = PersonalStage(networks, options)
    learning = [p for p in stage.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=options.learning_rate, weight_decay=options.weight_decay)
    kind = "constant_with_warmup" if options.schedule == "constant" else "cosine"
    schedule = get_scheduler(kind, optimizer, num_warmup_steps=options.warmup_steps, num_training_steps=options.steps)
    stage, optimizer = accelerator.prepare(stage, optimizer)
    batch = default_collate(samples)
    for step in progress(range(options.steps), "Learning the person", console=Console(stderr=True)):
        random = np.random.default_rng((options.seed, step))
        chosen = torch.from_numpy(random.integers(0, len(samples), options.batch))
        draws = torch.arange(step * options.batch, (step + 1) * options.batch)
        figures = stage(to_device({**_pick(batch, chosen), "draw": draws}, accelerator.device))
        accelerator.backward(figures["loss"])
        accelerator.clip_grad_norm_(learning, options.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".{output.name}.unfinished")  # so that a run that is killed leaves no half file
    save_file(accelerator.unwrap_model(stage).adapter(), unfinished, {"format": "pt"})
    return unfinished.replace(output)


def _samples(photo: Path, face: int, config: TrainingConfig, face_model: str) -> list[dict[str, Any]]:
    """The photo as it is, and edits of it there and back."""
    model, find = load_face_model(face_model)
    found = find(read_photo(photo))
    if face >= len(found):
        raise InstaFaceError(f"{photo}: there is no face {face}, found were {len(found)}")
    target = found[face]
    recogniser, random = load_recogniser(config.model.recogniser), np.random.default_rng(0)
    pairs = [reconstruction(target)]
    pairs += [there_and_back(target, random_edit(random, config.data), model) or pairs[0] for _ in range(SAMPLES)]
    size, convention = config.model.size, config.model.convention
    return [as_sample(pair, model, size, recogniser, random, convention) for pair in pairs]


def _pick(batch: Any, numbers: Tensor) -> Any:
    """Some samples of a batch."""
    if isinstance(batch, dict):
        return {key: _pick(value, numbers) for key, value in batch.items()}
    return batch[numbers]
