"""The renderer behind ``--renderer diffusion``: the geometric edit, corrected by the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from instaface.assets import MINI
from instaface.diffusion.conditions import Canvas, conditions, picture
from instaface.diffusion.light import LightModel
from instaface.draft import Draft
from instaface.draft.fill import smoothstep
from instaface.draft.texture import greyish
from instaface.errors import InstaFaceError
from instaface.face import FaceParameters, MorphableModel
from instaface.recognise import load_recogniser
from instaface.track import TrackedFace

if TYPE_CHECKING:
    from instaface.diffusion.pipeline import InstaFacePipeline


def load(model: str | None = None, personal: str | None = None) -> InstaFacePipeline | LightModel:
    """What :func:`render` takes, loaded as fast as it goes: the model that ships needs no pipeline.

    Arguments and errors are those of :func:`load_pipeline`. The recogniser is loaded as well.
    """
    pipeline = load_pipeline(model, personal) if model or personal else _embedded()
    recogniser = load_recogniser(pipeline.config.recogniser)
    recogniser.embed(np.zeros((1, recogniser.size, recogniser.size, 3), np.uint8))  # networks load with the first face
    return pipeline


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


def render(
    pipeline: InstaFacePipeline | LightModel,
    face: TrackedFace,
    drawn: Draft,
    edited: FaceParameters,
    model: MorphableModel,
    seed: int = 0,
    **options: Any,
) -> NDArray[np.uint8]:
    """Corrects a geometric edit.

    The correction is made at the network's size and added to the draft at the photo's own resolution, so that detail
    which the photo has is the photo's.

    Args:
        pipeline: from :func:`load` or :func:`load_pipeline`.
        face: the face as tracked.
        drawn: its geometric edit.
        edited: the parameters of that edit.
        model: the face model that they belong to.
        seed: of the noise.
        options: further arguments of a pipeline's call: steps, strength, scales.

    Returns:
        (h, w, 3) uint8 over the face's frame; where the edit's mask is 0, the draft as it is.
    """
    canvas = Canvas.of(face, pipeline.config.size)
    source = canvas.put(face.frame_pixels)
    given = conditions(face, drawn, edited, model, canvas, pipeline.config.convention)
    recogniser = load_recogniser(pipeline.config.recogniser)
    embedding = torch.from_numpy(recogniser.embed_face(face.photo.pixels, face.landmarks))[None]
    with _arithmetic(pipeline.device):
        correction = pipeline.correction(
            maps=given.maps,
            source=picture(source),
            face_embedding=embedding,
            draft=given.draft,
            region=given.region,
            generator=torch.Generator().manual_seed(seed),
            **options,
        )
    levels = canvas.take(correction.cpu()[0].permute(1, 2, 0).numpy() * 127.5)
    levels = worth_it(levels, drawn.opacity)
    if greyish(source):  # a black-and-white photo stays so
        levels = levels.mean(-1, keepdims=True)
    corrected = np.clip(np.rint(drawn.pixels + levels), 0, 255).astype(np.uint8)
    return np.where(drawn.mask[..., None] > 0, corrected, drawn.pixels)


FAINT = 3.0, 7.0  # levels of 255: means of a correction, from nothing that would be missed to all of it
AROUND = 0.008  # of the frame's longer side: deviation of these means


def worth_it(levels: NDArray[np.float32], opacity: NDArray[np.float32]) -> NDArray[np.float32]:
    """The correction without what is faint before the background.

    There it takes away what hair has left. What takes nothing away is only the autoencoder's grain on an even wall.

    Args:
        levels: (h, w, 3) correction in levels of 255.
        opacity: (h, w) 0..1 of what stands before the background; empty where nobody knows it.
    """
    if not opacity.size:
        return levels
    mean = cv2.GaussianBlur(np.abs(levels).max(-1), (0, 0), AROUND * max(opacity.shape))
    share = np.maximum(opacity, smoothstep(mean, *FAINT))
    return levels * share[..., None]
