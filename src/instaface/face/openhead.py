"""OpenHead: the face model that ships with the package.

Its numbers are learned by ``tools/build_openhead.py`` from samples of ICT-FaceKit (MIT, Copyright (c) 2020 USC
Institute for Creative Technologies); mesh, texture layout, bases and landmarks are our own.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
        self.mean = tensor(asset["mean"])
        self.identity = tensor(asset["identity"]) * step
        self.expression = tensor(asset["expression"]) * step
        self.n_identity = len(self.identity)
        self.faces, self.uv_faces = indices(asset["faces"]), indices(asset["uv_faces"])
        self.uv = tensor(asset["uv"])
        self.symmetry = indices(asset["symmetry"])
        self.head_weight = tensor(asset["head_weight"])
        self.neck_joint = tensor(asset["neck_joint"])
        self.eye_centre, self.eye_centre_identity = tensor(asset["eye_centre"]), tensor(asset["eye_centre_identity"])
        self.closing, self.closing_identity = tensor(asset["closing"]), tensor(asset["closing_identity"])
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
            scheme: (indices(asset[f"{scheme}_face"]), tensor(asset[f"{scheme}_weight"]))
            for scheme in ("mediapipe", "ibug")
        }
        self._look = indices(np.array([[self.expression_names.index(name) for name in eye] for eye in LOOK]))
        self.blink_index = indices(np.array([self.expression_names.index(name) for name in BLINK]))
        self.painted_albedo = linear_from_srgb(tensor(asset["albedo"]).permute(2, 0, 1) / 255)
        self.albedo_mean = self.painted_albedo
        self.albedo_basis = torch.zeros(0, *self.albedo_mean.shape)
        if albedo is not None:
            skin = torch.from_numpy(albedo["skin"])
            self.albedo_mean = torch.where(skin, tensor(albedo["mean"]), self.painted_albedo)
            self.albedo_basis = tensor(albedo["basis"]) * tensor(albedo["scale"])[:, None, None, None]
        self.n_albedo = len(self.albedo_basis)

    @classmethod
    def load(cls) -> OpenHead:
        """The model that ships, read once per process."""
        return _load()

    def effective_expression(self, parameters: FaceParameters) -> tuple[Tensor, Tensor]:
        """Weights that move the skin, and the eyeballs' angles.

        An eyeBlink weight is the share of the way to closed lids, whatever the eye: it is multiplied by the weight that
        closes this identity's eye, ``closing + closing_identity^T a``.

        An eyeLook weight w turns its eyeball by w x ``MAX_GAZE`` degrees on top of ``gaze``; the lids follow the angle
        that comes out, whichever way it was asked for: their weight is the angle over ``MAX_GAZE``, at most 1.2.

        Returns:
            (B, E) weights to apply to ``expression`` offsets and (B, 2, 2) degrees.
        """
        expression = parameters.expression
        asked = expression[:, self._look] * MAX_GAZE  # (B, 2, 4)
        angles = parameters.gaze + asked[..., 0::2] - asked[..., 1::2]
        follow = (torch.stack([angles, -angles], -1).flatten(-2) / MAX_GAZE).clamp(0, 1.2)
        closed = expression[:, self.blink_index] * (self.closing + parameters.identity @ self.closing_identity)
        index = torch.cat([self._look.flatten(), self.blink_index]).expand(len(expression), -1)
        return expression.scatter(1, index, torch.cat([follow.flatten(1), closed], 1)), angles

    def vertices(self, parameters: FaceParameters) -> Tensor:
        """(B, V, 3) vertices in camera space, centimetres."""
        weights, gaze = self.effective_expression(parameters)
        batch = len(weights)
        rest = self.mean + (parameters.identity @ self.identity.flatten(1)).view(batch, -1, 3)
        rest = rest + (weights @ self.expression.flatten(1)).view(batch, -1, 3)
        centres = self.eye_centre + torch.einsum("bi,iec->bec", parameters.identity, self.eye_centre_identity)
        turned = rotation_from_angles(torch.nn.functional.pad(gaze, (0, 1)))
        for eye, side in enumerate(SIDES):
            ball, centre = self.regions[f"eyeball_{side}"], centres[:, eye, None]
            moved = centre + (rest[:, ball] - centre) @ turned[:, eye].transpose(1, 2)
            rest = rest.index_copy(1, ball, moved)
        arm = rest - self.neck_joint
        head = arm @ rotation_from_angles(parameters.head).transpose(1, 2)
        body = arm @ rotation_from_angles(parameters.body).transpose(1, 2)
        weight = self.head_weight[:, None]
        return parameters.translation[:, None] + weight * head + (1 - weight) * body

    def landmarks(self, vertices: Tensor, scheme: str) -> Tensor:
        """(B, L, 3) landmarks of posed ``vertices``: "mediapipe" (478 points) or "ibug" (68 points).

        Points on the face's outline stay where they are on the mesh: they do not slide with the view.
        """
        faces, weights = self._scheme(scheme)
        return torch.einsum("blkc,lk->blc", vertices[:, self.faces[faces]], weights)

    def albedo(self, coefficients: Tensor) -> Tensor:
        """(B, A) coefficients to (B, 3, S, S) linear RGB, 0..1; row 0 is v = 1."""
        change = torch.einsum("ba,acyx->bcyx", coefficients, self.albedo_basis)
        return (self.albedo_mean + change).clamp(0, 1)

    def landmark_basis(self, scheme: str) -> LandmarkBasis:
        """The model at the landmarks only (see :class:`LandmarkBasis`)."""
        faces, weights = self._scheme(scheme)
        corners = self.faces[faces]

        def at(values: Tensor) -> NDArray[np.float32]:
            return torch.einsum("...lkc,lk->...lc", values[..., corners, :], weights).numpy()

        eye = torch.full((len(self.mean),), -1)
        for index, side in enumerate(SIDES):
            eye[self.regions[f"eyeball_{side}"]] = index
        return LandmarkBasis(
            mean=at(self.mean),
            identity=at(self.identity),
            expression=at(self.expression),
            head_weight=at(self.head_weight[:, None])[:, 0],
            neck_joint=self.neck_joint.numpy(),
            eye=eye[corners[:, 0]].numpy(),
            eye_centre=self.eye_centre.numpy(),
            eye_centre_identity=self.eye_centre_identity.numpy(),
            closing=self.closing.numpy(),
            closing_identity=self.closing_identity.numpy(),
        )

    def _scheme(self, scheme: str) -> tuple[Tensor, Tensor]:
        if scheme not in self._embedding:
            raise ValueError(f"OpenHead has no landmark scheme {scheme!r}; it has {sorted(self._embedding)}")
        return self._embedding[scheme]


def tensor(array: NDArray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


def indices(array: NDArray) -> Tensor:
    return torch.from_numpy(array.astype(np.int64))


@functools.cache
def _load() -> OpenHead:
    def read(name: str) -> dict[str, NDArray]:
        with np.load(ASSETS / name) as data:
            return {key: data[key] for key in data.files}

    return OpenHead(read("openhead.npz"), read("albedo.npz") if (ASSETS / "albedo.npz").exists() else None)
