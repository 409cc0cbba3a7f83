"""OpenHead: the face model that ships with the package.

Its numbers are learned by ``tools/build_openhead.py`` from samples of ICT-FaceKit (MIT, Copyright (c) 2020 USC
Institute for Creative Technologies); mesh, texture layout, bases and landmarks are our own.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from instaface.face.arrays import Array, like, namespace
from instaface.face.colour import linear_from_srgb
from instaface.face.model import MorphableModel
from instaface.face.parameters import FaceParameters
from instaface.face.rotation import rotation_from_angles

ASSETS = Path(__file__).resolve().parents[1] / "assets"
SIDES = ("left", "right")
# Blendshapes of each eye: towards the right edge of the picture, towards the left one, up, down.
LOOK = (
    ("eyeLookOutLeft", "eyeLookInLeft", "eyeLookUpLeft", "eyeLookDownLeft"),
    ("eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight", "eyeLookDownRight"),
)
BLINK = ("eyeBlinkLeft", "eyeBlinkRight")
MAX_GAZE = 30.0  # degrees that an eyeball turns at weight 1 of an eyeLook blendshape


@dataclass(frozen=True)
class LandmarkBasis:
    """The model restricted to the landmarks of one scheme, for fits in numpy.

    A landmark of the unposed head is ``mean + identity^T a + expression^T b``, with ``b`` the effective weights of
    :meth:`OpenHead.effective_expression`. Where ``eye`` says so it then turns about ``eye_centre +
    eye_centre_identity^T a``; the head turns it about ``neck_joint``, as ``head_weight`` says.

    Attributes:
        mean: (L, 3) float32, centimetres.
        identity: (I, L, 3) float32 offsets per standard deviation.
        expression: (E, L, 3) float32 offsets at weight 1.
        head_weight: (L,) float32, 1 on the head, 0 on the shoulders.
        neck_joint: (3,) float32.
        eye: (L,) int64: 0 on the left eyeball, 1 on the right one, -1 elsewhere.
        eye_centre: (2, 3) float32, left and right.
        eye_centre_identity: (I, 2, 3) float32.
        closing: (2,) float32, left and right: the offsets' share that closes the mean eye.
        closing_identity: (I, 2) float32 change of it per standard deviation.
    """

    mean: NDArray[np.float32]
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    head_weight: NDArray[np.float32]
    neck_joint: NDArray[np.float32]
    eye: NDArray[np.int64]
    eye_centre: NDArray[np.float32]
    eye_centre_identity: NDArray[np.float32]
    closing: NDArray[np.float32]
    closing_identity: NDArray[np.float32]


class OpenHead(MorphableModel):
    """The embedded face model; load it with :meth:`load`.

    What it computes is of the kind of what it is given: arrays for NumPy's arrays, tensors for tensors.

    Besides the interface:

    Attributes:
        mean: (V, 3) float32, the mean face at rest: centimetres, y up, z to the front, origin between the ears.
        identity: (I, V, 3) float32 principal components per standard deviation.
        expression: (52, V, 3) float32 offsets of the ARKit blendshapes at weight 1. ``tongueOut`` is not in the source:
            its offsets pull the tongue's front forwards.
        regions: besides ``skin``: ``face``, ``forehead``, ``brows``, ``eyelids``, ``nose``, ``cheek_*``, ``lips``,
            ``lip_upper``, ``lip_lower``, ``chin``, ``jaw``, ``ears``, ``scalp``, ``neck``, ``shoulders``; ``eyes``,
            ``eyeball_*``, ``iris_*``, ``eye_sockets``, ``mouth``, ``teeth``, ``gums``, ``tongue``; also ``brow_*`` and
            ``ear_*``, with ``left`` and ``right`` for the subject's sides. They overlap.
        neck_joint: (3,) float32, the same for all identities.
        eye_centre: (2, 3) float32 of the mean face, left and right; ``eye_centre_identity`` (I, 2, 3) moves them.
        closing: (2,) float32 and ``closing_identity`` (I, 2): weight of the eyeBlink offsets that closes the left and
            the right eye; see :meth:`effective_expression`.
        symmetry: (V,) int64, the vertex on the other side. On the skin, texture coordinates mirror with u -> 1 - u.
        albedo_mean: (3, S, S) linear RGB of the mean face.
        albedo_basis: (A, 3, S, S) its change by one standard deviation of each coefficient.
        painted_albedo: (3, S, S) linear RGB, hand-painted: what ``albedo`` gives where there is no albedo model.
        part_names: names of the mesh's parts (``skin``, ``eye_left``, ``eye_right``, ``eye_sockets``, ``gums``,
            ``mouth``, ``teeth``, ``tongue``), in the order of ``part_labels``.
        part_labels: (F,) int64 index into ``part_names`` of every triangle.
        part_faces: name of a part to (n,) int64 triangles.
    """

    name = "openhead"

    def __init__(self, asset: dict[str, NDArray], albedo: dict[str, NDArray] | None = None) -> None:
        """From the arrays of ``openhead.npz`` and, where there is one, the albedo model.

        Args:
            asset: what ``tools/build_openhead.py`` writes.
            albedo: what ``tools/build_albedo.py`` writes, linear RGB: ``mean`` (3, S, S) and ``basis`` (A, 3, S, S)
                times ``scale`` (A,), for coefficients of unit variance; and ``skin`` (S, S), the texels that they are
                about. Elsewhere, and without it, a face has the hand-painted albedo of the asset.
        """
        self.expression_names = tuple(str(name) for name in asset["expression_names"])
        step = float(asset["step"])
        self.mean = floats(asset["mean"])
        self.identity = floats(asset["identity"]) * np.float32(step)
        self.expression = floats(asset["expression"]) * np.float32(step)
        self.n_identity = len(self.identity)
        self.faces, self.uv_faces = indices(asset["faces"]), indices(asset["uv_faces"])
        self.uv = floats(asset["uv"])
        self.symmetry = indices(asset["symmetry"])
        self.head_weight = floats(asset["head_weight"])
        self.neck_joint = floats(asset["neck_joint"])
        self.eye_centre, self.eye_centre_identity = floats(asset["eye_centre"]), floats(asset["eye_centre_identity"])
        self.closing, self.closing_identity = floats(asset["closing"]), floats(asset["closing_identity"])
        masks = np.unpackbits(asset["regions"], axis=1, count=len(self.mean)).astype(bool)
        self.regions = {
            str(name): indices(np.flatnonzero(mask)) for name, mask in zip(asset["region_names"], masks, strict=True)
        }
        self.part_names = tuple(str(name) for name in asset["part_names"])
        self.part_labels = indices(asset["part"])
        self.part_faces = {
            name: indices(np.flatnonzero(asset["part"] == index)) for index, name in enumerate(self.part_names)
        }
        self._embedding = {
            scheme: (indices(asset[f"{scheme}_face"]), floats(asset[f"{scheme}_weight"]))
            for scheme in ("mediapipe", "ibug")
        }
        self._look = indices(np.array([[self.expression_names.index(name) for name in eye] for eye in LOOK]))
        self.blink_index = indices(np.array([self.expression_names.index(name) for name in BLINK]))
        # Where the weights of looks and blinks stand once their effective ones are appended to all weights.
        effective = np.concatenate([self._look.ravel(), self.blink_index])
        self._replaced = np.arange(len(self.expression_names))
        self._replaced[effective] = len(self.expression_names) + np.arange(len(effective))
        painted = np.ascontiguousarray(asset["albedo"].transpose(2, 0, 1), np.float32)
        self.painted_albedo = linear_from_srgb(painted / 255)
        self.albedo_mean = self.painted_albedo
        self.albedo_basis = np.zeros((0, *self.albedo_mean.shape), np.float32)
        if albedo is not None:
            self.albedo_mean = np.where(albedo["skin"], floats(albedo["mean"]), self.painted_albedo)
            self.albedo_basis = floats(albedo["basis"]) * floats(albedo["scale"])[:, None, None, None]
        self.n_albedo = len(self.albedo_basis)

    @classmethod
    def load(cls, kind: Literal["torch", "numpy"] = "torch") -> OpenHead:
        """The model that ships, read once per process.

        Args:
            kind: of its own arrays: tensors, or NumPy's arrays, which do without PyTorch and share the memory.
        """
        return _load() if kind == "numpy" else _with_tensors()

    def effective_expression(self, parameters: FaceParameters) -> tuple[Array, Array]:
        """Weights that move the skin, and the eyeballs' angles.

        An eyeBlink weight is the share of the way to closed lids, whatever the eye: it is multiplied by the weight that
        closes this identity's eye, ``closing + closing_identity^T a``.

        An eyeLook weight w turns its eyeball by w x ``MAX_GAZE`` degrees on top of ``gaze``; the lids follow the angle
        that comes out, whichever way it was asked for: their weight is the angle over ``MAX_GAZE``, at most 1.2.

        Returns:
            (B, E) weights to apply to ``expression`` offsets and (B, 2, 2) degrees.
        """
        expression, identity = parameters.expression, parameters.identity
        xp, batch = namespace(expression), len(expression)
        look, blink, replaced, closing, closing_identity = (
            like(array, expression)
            for array in (self._look, self.blink_index, self._replaced, self.closing, self.closing_identity)
        )
        asked = expression[:, look] * MAX_GAZE  # (B, 2, 4)
        angles = parameters.gaze + asked[..., 0::2] - asked[..., 1::2]
        follow = (xp.stack([angles, -angles], -1) / MAX_GAZE).clip(0, 1.2).reshape(batch, -1)
        closed = expression[:, blink] * (closing + identity @ closing_identity)
        return xp.concatenate([expression, follow, closed], 1)[:, replaced], angles

    def vertices(self, parameters: FaceParameters) -> Array:
        """(B, V, 3) vertices in camera space, centimetres."""
        weights, gaze = self.effective_expression(parameters)
        xp = namespace(weights)

        def own(array: Array) -> Array:
            return like(array, weights)

        rest = own(self.mean) + _combined(parameters.identity, own(self.identity))
        rest = rest + _combined(weights, own(self.expression))
        centres = own(self.eye_centre) + _combined(parameters.identity, own(self.eye_centre_identity))
        turned = rotation_from_angles(xp.concatenate([gaze, xp.zeros_like(gaze[..., :1])], -1))
        for eye, side in enumerate(SIDES):
            ball, centre = own(self.regions[f"eyeball_{side}"]), centres[:, eye, None]
            rest[:, ball] = centre + (rest[:, ball] - centre) @ turned[:, eye].swapaxes(1, 2)
        arm, weight = rest - own(self.neck_joint), own(self.head_weight)[:, None]
        head = arm @ rotation_from_angles(parameters.head).swapaxes(1, 2)
        body = arm @ rotation_from_angles(parameters.body).swapaxes(1, 2)
        return parameters.translation[:, None] + weight * head + (1 - weight) * body

    def landmarks(self, vertices: Array, scheme: str) -> Array:
        """(B, L, 3) landmarks of posed ``vertices``: "mediapipe" (478 points) or "ibug" (68 points).

        Points on the face's outline stay where they are on the mesh: they do not slide with the view.
        """
        corners, weights = (like(array, vertices) for array in self._scheme(scheme))
        return (vertices[:, corners] * weights[..., None]).sum(2)

    def albedo(self, coefficients: Array) -> Array:
        """(B, A) coefficients to (B, 3, S, S) linear RGB, 0..1; row 0 is v = 1."""
        mean, basis = (like(array, coefficients) for array in (self.albedo_mean, self.albedo_basis))
        return (mean + _combined(coefficients, basis)).clip(0, 1)

    def landmark_basis(self, scheme: str) -> LandmarkBasis:
        """The model at the landmarks only (see :class:`LandmarkBasis`)."""
        corners, weights = (np.asarray(array) for array in self._scheme(scheme))

        def at(values: Array) -> NDArray[np.float32]:
            return (np.asarray(values)[..., corners, :] * weights[..., None]).sum(-2)

        eye = np.full(len(self.mean), -1)
        for index, side in enumerate(SIDES):
            eye[self.regions[f"eyeball_{side}"]] = index
        return LandmarkBasis(
            mean=at(self.mean),
            identity=at(self.identity),
            expression=at(self.expression),
            head_weight=at(self.head_weight[:, None])[:, 0],
            neck_joint=np.asarray(self.neck_joint),
            eye=eye[corners[:, 0]],
            eye_centre=np.asarray(self.eye_centre),
            eye_centre_identity=np.asarray(self.eye_centre_identity),
            closing=np.asarray(self.closing),
            closing_identity=np.asarray(self.closing_identity),
        )

    def _scheme(self, scheme: str) -> tuple[Array, Array]:
        """(L, 3) vertices and their (L, 3) weights."""
        if scheme not in self._embedding:
            raise ValueError(f"OpenHead has no landmark scheme {scheme!r}; it has {sorted(self._embedding)}")
        faces, weights = self._embedding[scheme]
        return self.faces[faces], weights


def _combined(coefficients: Array, basis: Array) -> Array:
    """(B, K) coefficients of a (K, ...) basis to (B, ...) sums."""
    return (coefficients @ basis.reshape(len(basis), -1)).reshape(len(coefficients), *basis.shape[1:])


def floats(array: NDArray) -> NDArray[np.float32]:
    return array.astype(np.float32)


def indices(array: NDArray) -> NDArray[np.int64]:
    return array.astype(np.int64)


@functools.cache
def _load() -> OpenHead:
    def read(name: str) -> dict[str, NDArray]:
        with np.load(ASSETS / name) as data:
            return {key: data[key] for key in data.files}

    return OpenHead(read("openhead.npz"), read("albedo.npz") if (ASSETS / "albedo.npz").exists() else None)


@functools.cache
def _with_tensors() -> OpenHead:
    return _load().to("cpu")
