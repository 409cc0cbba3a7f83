"""Loading a diffusion model with its recogniser, and what it corrects in a draft."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from instaface.assets import MINI
from instaface.diffusion.light import LightModel
from instaface.errors import InstaFaceError
from instaface.recognise import load_recogniser

if TYPE_CHECKING:
    from instaface.diffusion.interface import Conditions
    from instaface.diffusion.pipeline import InstaFacePipeline


class Corrector:
    """A model, ready to correct drafts.

    Args:
        pipeline: the model; its recogniser is loaded as well.

    Attributes:
        size: longer side of the canvas that it works on, in pixels.
        convention: how its maps are coded, see :mod:`instaface.render.conventions`.
    """

    def __init__(self, pipeline: InstaFacePipeline | LightModel) -> None:
        self.size: int = pipeline.config.size
        self.convention: str = pipeline.config.convention
        self._pipeline = pipeline
        self._recogniser = load_recogniser(pipeline.config.recogniser)
        side = self._recogniser.size
        self._recogniser.embed(np.zeros((1, side, side, 3), np.uint8))  # its network is loaded with the first face

    @classmethod
    def load(cls, model: str | None = None, personal: str | None = None) -> Corrector:
        """As fast as it goes: the model that ships needs no pipeline. Arguments and errors are those of
        :func:`load_pipeline`."""
        return cls(load_pipeline(model, personal) if model or personal else _embedded())

    def __call__(
        self, given: Conditions, photo: NDArray[np.uint8], landmarks: NDArray[np.floating], seed: int
    ) -> NDArray[np.float32]:
        """What is to be added to a draft.

        Args:
            given: the draft, and what guides the model.
            photo: (h, w, 3) sRGB as it was.
            landmarks: (478, 2) of the face in it.
            seed: of the noise.

        Returns:
            (H, W, 3) over the canvas of ``given``, -2..2.
        """
        embedding = self._recogniser.embed_face(photo, landmarks)
        with _arithmetic(self._pipeline.device):
            correction = self._pipeline.correction(
                maps={name: _tensor(values) for name, values in given.maps.items()},
                source=_tensor(given.source),
                face_embedding=_tensor(embedding),
                draft=_tensor(given.draft),
                region=_tensor(given.region),
                generator=torch.Generator().manual_seed(seed),
            )
        return correction.cpu()[0].permute(1, 2, 0).numpy()


@cache
def _embedded() -> LightModel:
    return LightModel(MINI, _fastest())


@cache
def load_pipeline(
    model: str | None = None, personal: str | None = None, device: str | None = None
) -> InstaFacePipeline:
    """The pipeline of a model, on the GPU where there is one; loaded once.

    Args:
        model: folder or hub id, by default the model that ships.
        personal: LoRA file of ``instaface personalize``.
        device: a torch device, by default the fastest at hand.

    Raises:
        InstaFaceError: there is no such model, or no such file.
    """
    from instaface.diffusion.pipeline import InstaFacePipeline

    try:
        with _quiet():
            pipeline = InstaFacePipeline.from_pretrained(model or MINI)
    except (OSError, ValueError) as error:
        raise InstaFaceError(f"--model {model}: no model on disk or on the hub by that name") from error
    if personal is not None:
        if not Path(personal).is_file():
            raise InstaFaceError(f"--personal {personal}: no such file")
        try:
            pipeline.load_lora_weights(personal)
        except ValueError as error:
            raise InstaFaceError(f"--personal {personal}: {error}") from error
    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            nn.Module.to(part, dtype=torch.float32)  # whatever it is stored as
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device or _fastest())


def _fastest() -> str:
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars: a model loads in a second."""
    import diffusers
    import transformers

    libraries = diffusers.utils.logging, transformers.utils.logging
    shown = [library.is_progress_bar_enabled() for library in libraries]
    for library in libraries:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, was_shown in zip(libraries, shown, strict=True):
            if was_shown:
                library.enable_progress_bar()


def _arithmetic(device: torch.device) -> AbstractContextManager:
    """16 bits on processors with units for matrices of them (AMX), where an edit takes half of the time; else 32."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    fast = device.type == "cpu" and capabilities.get("amx_bf16", False)
    return torch.autocast("cpu", torch.bfloat16) if fast else nullcontext()


def _tensor(values: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(values)[None]
