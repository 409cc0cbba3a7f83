"""The InstaFace pipeline: maps, tokens and a draft in, picture out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, SchedulerMixin, UNet2DConditionModel
from diffusers.image_processor import VaeImageProcessor
from diffusers.loaders.lora_base import LoraBaseMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from transformers import CLIPVisionModel

from instaface.diffusion.autoencoder import Autoencoder
from instaface.diffusion.fusion import FusionController
from instaface.diffusion.guidance import GuidanceNetwork
from instaface.diffusion.identity import IdentityPreserver, patch_tokens
from instaface.diffusion.latents import decode, encode, scale_factor


@dataclass
class InstaFaceOutput(BaseOutput):
    """Result of :class:`InstaFacePipeline`.

    Attributes:
        images: the pictures, in the form that ``output_type`` asked for.
        correction: (B, 3, H, W) float32, what was added to the draft, -2..2; to be brought to the photo's own
            resolution where that is higher. None without a draft or for latents.
    """

    images: Any
    correction: Tensor | None = None


@dataclass(frozen=True)
class Branch:
    """One evaluation of the networks in classifier-free guidance."""

    identity: bool
    maps: bool
    weight: float


def guidance_branches(identity_scale: float, map_scale: float) -> list[Branch]:
    """The evaluations that guidance needs, with their weights; those of weight zero are left out.

    With e(i, m) the prediction under identity tokens i and maps m (Brooks et al. 2023, equation 3, maps first):
    e(0, 0) + map_scale (e(0, m) - e(0, 0)) + identity_scale (e(i, m) - e(0, m)). With both scales 1 that is one
    evaluation, with equal ones two.
    """
    branches = [
        Branch(True, True, identity_scale),
        Branch(False, True, map_scale - identity_scale),
        Branch(False, False, 1 - map_scale),
    ]
    return [branch for branch in branches if branch.weight != 0]


class InstaFacePipeline(DiffusionPipeline, LoraBaseMixin):
    """Samples a picture under fused maps and identity tokens, from the draft at partial noise or from pure noise.

    Args:
        vae: image autoencoder.
        unet: the Diffusion Network.
        guidance_network: the Guidance Network.
        fusion_controller: the 3D Fusion Controller.
        identity_preserver: the Identity Preserver.
        image_encoder: CLIP vision encoder.
        scheduler: any diffusers scheduler that adds noise.
        size: side of the pictures that the model was trained with, in pixels.
        steps: default number of steps.
        strength: default share of the noise schedule.
        noise: factor on the noise that a draft is given.
        recogniser: whose face embedding the identity tokens are made of.
        convention: how its maps are coded (:mod:`instaface.render.conventions`).
    """

    model_cpu_offload_seq = "image_encoder->identity_preserver->unet->vae"
    _callback_tensor_inputs = ("latents",)
    _lora_loadable_modules = ("unet", "guidance_network")

    def __init__(
        self,
        vae: Autoencoder | AutoencoderKL,
        unet: UNet2DConditionModel,
        guidance_network: GuidanceNetwork,
        fusion_controller: FusionController,
        identity_preserver: IdentityPreserver,
        image_encoder: CLIPVisionModel,
        scheduler: SchedulerMixin,
        size: int = 512,
        steps: int = 30,
        strength: float = 1.0,
        noise: float = 1.0,
        recogniser: str = "dlib",
        convention: str = "instaface",
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            unet=unet,
            guidance_network=guidance_network,
            fusion_controller=fusion_controller,
            identity_preserver=identity_preserver,
            image_encoder=image_encoder,
            scheduler=scheduler,
        )
        self.register_to_config(
            size=size, steps=steps, strength=strength, noise=noise, recogniser=recogniser, convention=convention
        )
        self.image_processor = VaeImageProcessor(vae_scale_factor=scale_factor(vae))

    @torch.no_grad()
    def __call__(
        self,
        maps: Mapping[str, Tensor],
        source: Tensor,
        face_embedding: Tensor | None = None,
        draft: Tensor | None = None,
        region: Tensor | None = None,
        num_inference_steps: int | None = None,
        strength: float | None = None,
        guidance_scale: float = 1.0,
        map_guidance_scale: float = 1.0,
        conditioning_scale: float = 1.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        output_type: str = "pil",
        callback_on_step_end: Callable[[Any, int, Any, dict[str, Tensor]], dict[str, Tensor]] | None = None,
        callback_on_step_end_tensor_inputs: tuple[str, ...] = ("latents",),
        return_dict: bool = True,
    ) -> InstaFaceOutput | tuple[Any, Tensor | None]:
        """Makes one picture for each edit in the batch.

        Args:
            maps: name to (B, 3, H, W) in -1..1.
            source: (B or 1, 3, H, W) in -1..1, the photo as it was; one serves a whole batch of its edits.
            face_embedding: (B or 1, F) embedding of the face in it, or None for semantic tokens alone.
            draft: (B, 3, H, W) in -1..1, the geometric edit; None to sample from pure noise without one.
            region: (B, 1, H, W) 0..1, how far the draft is given up for what the networks make; where it is 0 the
                draft stays to the bit. None for all of it.
            num_inference_steps: steps of the scheduler that are really run; by default the model's.
            strength: share of the noise schedule that they cover; 1 starts from pure noise. By default the model's.
            guidance_scale: classifier-free guidance of the identity tokens; 1 for none.
            map_guidance_scale: the same of the maps.
            conditioning_scale: strength of the Guidance Network.
            generator: source of the noise, one or one for each picture.
            latents: (B, C, h, w) noise of unit variance, instead of drawing it.
            output_type: ``pil``, ``np``, ``pt`` (0..1) or ``latent``.
            callback_on_step_end: called with the pipeline, the step, its timestep and the tensors asked for; what
                it returns replaces them.
            callback_on_step_end_tensor_inputs: of these tensors; ``latents`` is the only one.
            return_dict: False for a tuple.

        Raises:
            ValueError: shapes that do not fit together, a strength outside of 0..1, a name that cannot be called back.
        """
        # 1. Check the inputs
        steps = num_inference_steps or self.config.steps
        strength = self.config.strength if strength is None else strength
        if draft is None:
            strength = 1.0
        batch = self._check(maps, source, draft, strength, callback_on_step_end_tensor_inputs)
        device, dtype = self._execution_device, self.unet.dtype

        # 2. Fuse the maps
        maps = {name: value.to(device, dtype) for name, value in maps.items()}
        conditional = self.fusion_controller(maps, self.vae)

        # 3. Identity tokens, with and without what guidance drops
        branches = guidance_branches(guidance_scale, map_guidance_scale)
        tokens = self._tokens(source.to(device, dtype), face_embedding, branches, batch)
        conditionals = torch.cat([conditional * float(branch.maps) for branch in branches])
        weights = [branch.weight for branch in branches]

        # 4. Start from noise, or from the noisy draft
        timesteps = self._timesteps(steps, strength, device)
        start = None if draft is None else encode(self.vae, draft.to(device, dtype))
        shape = (batch, self.unet.config.in_channels, *conditional.shape[2:])
        noise = randn_tensor(shape, generator, device, dtype) if latents is None else latents.to(device, dtype)
        if start is None or strength == 1:
            latents = noise * self.scheduler.init_noise_sigma
        else:
            latents = self.scheduler.add_noise(start, self.config.noise * noise, timesteps[:1].repeat(batch))

        # 5. Denoise
        with self.progress_bar(total=len(timesteps)) as bar:
            for i, t in enumerate(timesteps):
                noisy = self.scheduler.scale_model_input(torch.cat([latents] * len(branches)), t)
                residuals = self.guidance_network(noisy, t, tokens, conditionals, conditioning_scale)
                predictions = self.unet(noisy, t, tokens, **residuals).sample.chunk(len(branches))
                prediction = sum(weight * value for weight, value in zip(weights, predictions, strict=True))
                latents = self.scheduler.step(prediction, t, latents, return_dict=False)[0].to(dtype)
                if callback_on_step_end is not None:
                    tensors = dict.fromkeys(callback_on_step_end_tensor_inputs, latents)
                    latents = callback_on_step_end(self, i, t, tensors).get("latents", latents)
                bar.update()

        # 6. Decode, and put the correction on the draft
        correction = None
        if output_type == "latent":
            images: Any = latents
        else:
            result = decode(self.vae, latents).float()
            if draft is not None and start is not None:
                draft = draft.to(device).float()
                # The autoencoder's own blur and colour shift are in both, and cancel.
                correction = result - decode(self.vae, start).float()
                correction = correction if region is None else correction * region.to(correction)
                result = draft + correction
            images = self.image_processor.postprocess(result.clamp(-1, 1), output_type)
        self.maybe_free_model_hooks()
        return InstaFaceOutput(images=images, correction=correction) if return_dict else (images, correction)

    def correction(self, **arguments: Any) -> Tensor:
        """(B, 3, H, W) float32, what :meth:`__call__` adds to a draft; its arguments."""
        correction = self(**arguments, output_type="pt", return_dict=False)[1]
        assert correction is not None
        return correction

    def _check(
        self,
        maps: Mapping[str, Tensor],
        source: Tensor,
        draft: Tensor | None,
        strength: float,
        callback_names: tuple[str, ...],
    ) -> int:
        """Number of edits, after a look at the arguments."""
        shapes = {name: tuple(value.shape) for name, value in maps.items()}
        if draft is not None:
            shapes["draft"] = tuple(draft.shape)
        first = next(iter(shapes.values()), ())
        odd = {name: shape for name, shape in shapes.items() if shape != first or len(shape) != 4 or shape[1] != 3}
        if not maps or odd:
            raise ValueError(f"maps and draft must be (B, 3, H, W) of one size, found {shapes}")
        stride = scale_factor(self.vae) * 2 ** (len(self.unet.config.block_out_channels) - 1)
        if first[2] % stride or first[3] % stride:
            raise ValueError(f"height and width must be multiples of {stride}, found {first[2]} x {first[3]}")
        if len(source) not in (1, first[0]):
            raise ValueError(f"source has a batch of {len(source)}: must be 1 or that of the maps, {first[0]}")
        if not 0 < strength <= 1:
            raise ValueError(f"strength {strength}: must be over 0 and at most 1")
        if set(callback_names) - set(self._callback_tensor_inputs):
            raise ValueError(f"callback tensors {callback_names}: only {self._callback_tensor_inputs} can be asked for")
        return first[0]

    def _tokens(self, source: Tensor, face: Tensor | None, branches: list[Branch], batch: int) -> Tensor:
        """(branches * B, N, D) tokens, the branches one after the other."""
        patches = patch_tokens(self.image_encoder, source, self.identity_preserver.config.vision_layer)
        patches = patches.expand(batch, -1, -1)
        face = None if face is None else face.to(patches).expand(batch, -1)
        keep = [patches.new_full((batch,), float(branch.identity)) for branch in branches]
        return torch.cat([self.identity_preserver(patches, face, k) for k in keep])

    def _timesteps(self, steps: int, strength: float, device: torch.device) -> Tensor:
        """The last ``steps`` of a schedule so fine that they cover ``strength`` of it."""
        total = max(steps, round(steps / strength))
        self.scheduler.set_timesteps(total, device=device)
        begin = (total - steps) * self.scheduler.order
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(begin)
        return self.scheduler.timesteps[begin:]

    def enable_vae_tiling(self) -> None:
        """Encodes and decodes in tiles, for pictures larger than the memory allows at once."""
        self.vae.enable_tiling()

    def load_lora_weights(
        self, path: str | Path | dict[str, Tensor], adapter_name: str | None = None, **options: Any
    ) -> None:
        """Loads a LoRA file, as ``instaface personalize`` writes it; stack with ``set_adapters``.

        Args:
            path: file, hub id or state dict; keys start with the name of the network that they adapt.
            adapter_name: name to switch it by.
            options: as for diffusers' ``load_lora_adapter``.
        """
        state = self.lora_state_dict(path, **options)
        for name in self._lora_loadable_modules:
            if any(key.startswith(f"{name}.") for key in state):
                getattr(self, name).load_lora_adapter(dict(state), prefix=name, adapter_name=adapter_name)

    @classmethod
    def lora_state_dict(cls, path: str | Path | dict[str, Tensor], **options: Any) -> dict[str, Tensor]:
        """Tensors of a LoRA file by key. Raises ValueError where none belongs to a network of this pipeline."""
        from diffusers.loaders.lora_base import _fetch_state_dict

        if isinstance(path, dict):
            state = path
        elif Path(path).is_file():
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            keys = ("cache_dir", "force_download", "proxies", "local_files_only", "token", "revision", "subfolder")
            places = {key: options.get(key) for key in keys}
            agent = {"file_type": "attn_procs_weights", "framework": "pytorch"}
            name = options.get("weight_name", "pytorch_lora_weights.safetensors")
            state, _ = _fetch_state_dict(
                str(path), weight_name=name, use_safetensors=True, user_agent=agent, allow_pickle=False, **places
            )
        if not any(key.startswith(tuple(f"{name}." for name in cls._lora_loadable_modules)) for key in state):
            raise ValueError(f"{path if not isinstance(path, dict) else 'state dict'}: no LoRA of this pipeline in it")
        return state
