"""The one call that command line, Python and web app all make."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from instaface.draft import Draft, Scene, draft, marks_of, take_apart, to_be_reworked
from instaface.edit import DRIVEN, Edit
from instaface.edit.apply import apply, sequence
from instaface.edit.drive import drive
from instaface.errors import InstaFaceError
from instaface.face import FaceParameters, MorphableModel
from instaface.photo import EditedPhoto, Photo, composite, read_photo
from instaface.render import Maps, region_mask, render_maps
from instaface.track import TrackedFace
from instaface.track.models import FACE_MODELS
from instaface.track.models import face_model as load_face_model

if TYPE_CHECKING:
    from PIL import Image

    from instaface.diffusion.interface import Corrects

RENDERERS = ("geometric", "diffusion")

INSIDE_MOUTH = ("teeth", "gums", "tongue", "mouth")
FADE = 0.1  # of the frame's shorter side: where the frame ends inside the photo, an edit fades out over it


@dataclass(frozen=True)
class EditResult:
    """An edited face.

    Attributes:
        image: the whole photo with the edit in it; ``image.save(path)``, ``image.pixels``.
        face: the face before the edit.
        parameters: its parameters after the edit.
        draft: (H, W, 3) uint8, the geometric edit of the face's frame.
        appearance: (H, W, 3) uint8, the same with mid-grey where the camera never saw what is shown.
        coverage: (H, W) float32: 1 seen in the photo, 0.5 mirrored from the face's other half, 0 invented.
        mask: (H, W) float32 0..1: 0 where the photo's own pixels stay.
        renderer: name of the renderer.
        seed: seed of its random numbers; the geometric renderer has none.
        timings: seconds by step.
    """

    image: EditedPhoto
    face: TrackedFace
    parameters: FaceParameters
    draft: NDArray[np.uint8]
    appearance: NDArray[np.uint8]
    coverage: NDArray[np.float32]
    mask: NDArray[np.float32]
    model: MorphableModel = field(repr=False)
    renderer: str = RENDERERS[0]
    seed: int = 0
    timings: dict[str, float] = field(default_factory=dict)

    @cached_property
    def maps(self) -> Maps:
        """Normals, albedo, shading, ... of the edited face over its frame; rendered when first asked for."""
        return render_maps(self.model, self.parameters, self.face.frame_camera)

    @cached_property
    def marks(self) -> NDArray[np.float32]:
        """(H, W, 3) cast shadows (below 0) and highlights (above 0) of the photo's skin, which go with its old light:
        natural logarithm of the photo over what the fitted light explains; found when first asked for."""
        return marks_of(self.face, self.model)


class Editor:
    """Finds faces in photos and edits them.

    >>> editor = Editor()
    >>> face = editor.track("photo.jpg")[0]
    >>> result = editor.edit(face, Edit(yaw=20, expression="smile", light="left"))
    >>> result.image.save("out.png")

    A face is taken apart once and then edited any number of times: edits of one face after another are quick.
    """

    def __init__(
        self,
        face_model: str = FACE_MODELS[0],
        model: str | None = None,
        personal: str | None = None,
        corrector: Corrects | None = None,
    ) -> None:
        """With the face model that ships, or ``"flame"`` with DECA from files that the user adds.

        Args:
            face_model: "openhead" or "flame".
            model: folder or hub id of the diffusion renderer's model, by default the one that ships.
            personal: LoRA file for it, of one person.
            corrector: what runs that model; by default it is loaded here when it is first needed.

        Raises:
            InstaFaceError: an unknown face model, or its files were not added.
        """
        self.model, self._track = load_face_model(face_model)
        self._diffusion = (model, personal)
        self._corrector = corrector
        self._scene: tuple[TrackedFace, Scene] | None = None

    def track(self, photo: str | Path | bytes | Image.Image | NDArray[Any] | Photo) -> list[TrackedFace]:
        """All faces of a photo, the largest first; an empty list where there is none.

        Raises:
            InstaFaceError: the photo cannot be read, see :func:`instaface.photo.read_photo`.
        """
        return self._track(read_photo(photo))

    @property
    def _has_model(self) -> bool:
        """Whether a diffusion model has seen this face model: the one that ships has seen the one that ships."""
        return self._diffusion[0] is not None or self.model.name == FACE_MODELS[0]

    def _default_renderer(self, face: TrackedFace, edited: FaceParameters) -> str:
        return RENDERERS[self._has_model and not np.array_equal(edited.head, face.parameters.head)]

    def apply(
        self, face: TrackedFace, edit: Edit, driver: TrackedFace | None = None, drive_what: str | Iterable[str] = DRIVEN
    ) -> FaceParameters:
        """The face's parameters after taking those of ``driver`` and then the edit."""
        parameters = face.parameters
        if driver is not None:
            parameters = drive(parameters, driver.parameters, drive_what)
        return apply(edit, parameters, self.model)

    def edit(
        self,
        face: TrackedFace,
        edit: Edit | FaceParameters,
        *,
        driver: TrackedFace | None = None,
        drive_what: str | Iterable[str] = DRIVEN,
        renderer: str | None = None,
        seed: int = 0,
    ) -> EditResult:
        """Edit one face.

        Args:
            face: from :meth:`track`.
            edit: what to change, or the finished parameters.
            driver: another face, some of whose parameters are taken before the edit is applied.
            drive_what: what is taken: any of "pose", "expression", "light", "gaze".
            renderer: "geometric", or "diffusion" to have a diffusion model work over what that draws. By default
                diffusion where it wins: where the head moves, and so shows what the photo does not.
            seed: of the renderer's random numbers.

        Raises:
            InstaFaceError: the renderer is unknown or the edit is not possible.
        """
        if renderer not in (None, *RENDERERS):
            raise InstaFaceError(f"renderer: unknown name {renderer!r}, allowed are {', '.join(RENDERERS)}")
        clock = _Clock()
        parameters = self.apply(face, edit, driver, drive_what) if isinstance(edit, Edit) else edit
        renderer = renderer or self._default_renderer(face, parameters)
        clock.lap("apply")
        if _equal(parameters, face.parameters):
            return self._unedited(face, renderer, seed, clock.laps)
        scene = self._take_apart(face)
        clock.lap("take apart")
        drawn = draft(face, parameters, self.model, scene)
        clock.lap("draft")
        corrected = drawn.pixels
        if renderer == "diffusion" and to_be_reworked(drawn):
            corrected = self._diffuse(face, drawn, parameters, seed)
            clock.lap("diffusion")
        fade = FADE * min(face.frame.width, face.frame.height)
        pixels = composite(face.photo.pixels, corrected, drawn.mask, face.frame.x, face.frame.y, fade)
        clock.lap("composite")
        return EditResult(
            image=EditedPhoto(pixels, face.photo, alpha=self._alpha(face, parameters, fade)),
            face=face,
            parameters=parameters,
            draft=drawn.pixels,
            appearance=drawn.appearance,
            coverage=drawn.coverage,
            mask=drawn.mask,
            model=self.model,
            renderer=renderer,
            seed=seed,
            timings=clock.laps,
        )

    def edit_all(self, faces: Sequence[TrackedFace], edit: Edit, **options: Any) -> list[EditResult]:
        """Edit several faces of one photo; the last result's image shows all edits.

        Args:
            faces: from :meth:`track`, of one photo.
            edit: what to change in each of them.
            options: as for :meth:`edit`.
        """
        if not faces:
            raise InstaFaceError("no face to edit: track a photo with a face in it")
        original, results = faces[0].photo, []
        photo = original
        for face in faces:
            if photo is not original:
                face = replace(face, photo=photo)
            result = self.edit(face, edit, **options)
            image = replace(result.image, original=original)
            photo = replace(original, pixels=image.pixels, alpha=image.alpha)
            results.append(replace(result, image=image))
        return results

    def sequence(self, face: TrackedFace, a: Edit, b: Edit, n: int, **options: Any) -> list[EditResult]:
        """``n`` edits in equal steps from ``a`` to ``b``, both included."""
        steps = sequence(self.apply(face, a), self.apply(face, b), n)
        return [self.edit(face, parameters, **options) for parameters in steps]

    def _take_apart(self, face: TrackedFace) -> Scene:
        if self._scene is None or self._scene[0] is not face:
            self._scene = (face, take_apart(face, self.model))
        return self._scene[1]

    def _alpha(self, face: TrackedFace, parameters: FaceParameters, fade: float) -> NDArray[np.uint8] | None:
        """(H, W) opacity of a photo with transparent parts: carried into the edited view as its colours are."""
        alpha = face.photo.alpha
        if alpha is None or (alpha == 255).all():
            return alpha
        opacity = replace(face.photo, pixels=np.repeat(alpha[..., None], 3, -1))
        drawn = draft(replace(face, photo=opacity), parameters.replace(light=face.parameters.light), self.model)
        maps = render_maps(self.model, parameters, face.frame_camera)
        inside = region_mask(self.model, maps, *INSIDE_MOUTH)  # painted, not carried
        pixels = np.where(inside[..., None], np.uint8(255), drawn.pixels)
        mask = np.where(inside, np.float32(1), drawn.mask)
        return composite(opacity.pixels, pixels, mask, face.frame.x, face.frame.y, fade)[..., 0]

    def _diffuse(self, face: TrackedFace, drawn: Draft, edited: FaceParameters, seed: int) -> NDArray[np.uint8]:
        """The draft as the diffusion model corrects it."""
        from instaface.diffusion.renderer import render

        if self._corrector is None:
            from instaface.diffusion.corrector import Corrector

            self._corrector = Corrector.load(*self._diffusion)
        return render(self._corrector, self.model, face, drawn, edited, seed)

    def _unedited(self, face: TrackedFace, renderer: str, seed: int, timings: dict[str, float]) -> EditResult:
        """The input itself: nothing is rendered, nothing is touched."""
        shape = (face.frame.height, face.frame.width)
        return EditResult(
            image=EditedPhoto(face.photo.pixels, face.photo, alpha=face.photo.alpha),
            face=face,
            parameters=face.parameters,
            draft=face.frame_pixels,
            appearance=face.frame_pixels,
            coverage=np.ones(shape, np.float32),
            mask=np.zeros(shape, np.float32),
            model=self.model,
            renderer=renderer,
            seed=seed,
            timings=timings,
        )


def choose(faces: Sequence[TrackedFace], which: str) -> list[TrackedFace]:
    """Faces of a photo by what users write: ``largest``, ``all``, or an index counted from 0.

    Raises:
        InstaFaceError: there is no such face, or ``which`` is none of these.
    """
    if not faces:
        raise InstaFaceError("no face found: use a photo that shows a face from the front or half from the side")
    if which == "all":
        return list(faces)
    if which == "largest":
        return [faces[0]]
    if not which.isdecimal():
        raise InstaFaceError(f"face: {which!r} is not understood, allowed are largest, all or an index from 0")
    if int(which) >= len(faces):
        found = "the one face is 0" if len(faces) == 1 else f"the {len(faces)} faces are 0 to {len(faces) - 1}"
        raise InstaFaceError(f"face: there is no face {which}, {found}")
    return [faces[int(which)]]


def _equal(a: FaceParameters, b: FaceParameters) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("head", "expression", "gaze", "light", "jaw")
    )


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._last = now - self._last, now
