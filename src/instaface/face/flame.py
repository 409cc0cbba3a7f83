"""FLAME, the face model of the paper's front end, from files that the user adds.

Li, Bolkart, Black, Li, Romero: Learning a model of facial shape and expression from 4D scans, 2017. The model itself is
in metres, in axes like ours: x to the subject's left (the right edge of the picture), y up, z out of the face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from instaface import assets
from instaface.errors import InstaFaceError
from instaface.face.model import MorphableModel
from instaface.face.parameters import FaceParameters
from instaface.face.rotation import rotation_from_angles

ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(5)
N_SHAPE, N_EXPRESSION = 100, 50  # what DECA estimates of 300 and 100
FIRST_EXPRESSION = 300  # column of the shape basis where expressions start
EYEBALLS = {"eyeball_left": range(3931, 4477), "eyeball_right": range(4477, 5023)}
CENTIMETRES = 100.0
DISPLAY_GAMMA = 2.2  # FLAME's textures and DECA's light are in the photo's own values, taken as linear ** (1 / 2.2)
PLAIN_SKIN = 180 / 255  # albedo where no texture was added, as in DECA's shape views, in the photo's values


@dataclass(frozen=True)
class Arkit:
    """ARKit's blendshapes in terms of FLAME, as :mod:`instaface.face.transfer` fits them.

    Attributes:
        names: N blendshapes.
        matrix: (53, N) change of the 50 expression coefficients and 3 jaw radians by a full weight.
        metric: (53, 53) upper triangular R: ``|R x|`` is how far landmarks move by x, centimetres.
        residual: (N,) share of each blendshape's movement that FLAME cannot make, 0..1.
    """

    names: tuple[str, ...]
    matrix: Tensor
    metric: Tensor
    residual: Tensor


class FLAME(MorphableModel):
    """FLAME as a :class:`MorphableModel`; load it with :meth:`load`.

    :class:`FaceParameters` are mapped so: ``body`` is FLAME's global rotation, ``head`` relative to ``body`` its neck
    rotation, ``jaw`` (degrees) its jaw as an axis-angle vector in FLAME's axes (first component positive opens the
    mouth, the second moves the chin to the right edge of the picture, the third turns it anticlockwise as seen),
    ``gaze`` its two eyes; ``translation`` is where the neck joint comes to lie. DECA has all of the head's rotation in
    the global one: there ``head`` equals ``body``.

    ``expression`` holds FLAME's own 50 coefficients and behind them the weights of ARKit blendshapes, each of which
    adds its share of expression and jaw (:class:`Arkit`).

    Attributes:
        identity_basis: (100, V, 3) metres per standard deviation.
        expression_basis: (50, V, 3) metres per standard deviation.
        mediapipe_indices: which of MediaPipe's 478 landmarks the scheme "mediapipe-105" has, in its order.
        arkit: the ARKit blendshapes that ``expression`` ends with, or None.
        texture_space: "flame", "bfm", or "none" where no texture was added.
    """

    name = "flame"
    n_identity = N_SHAPE
    n_albedo = 50

    def __init__(
        self,
        model: Mapping[str, NDArray[Any]],
        uv: tuple[NDArray[Any], NDArray[Any]],
        landmarks: Mapping[str, NDArray[Any]] | None = None,
        mediapipe: Mapping[str, NDArray[Any]] | None = None,
        texture: Mapping[str, NDArray[Any]] | None = None,
        texture_space: str = "none",
        regions: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """From arrays as :mod:`instaface.assets` keeps them (see ``instaface.assets.kinds``).

        Args:
            model: of the kind "flame".
            uv: texture coordinates (T, 2) and their triangles (F, 3).
            landmarks: of the kind "flame-landmarks".
            mediapipe: of the kind "flame-mediapipe".
            texture: of the kind "flame-texture" or "bfm-texture".
            texture_space: which of the two.
            regions: of the kind "flame-masks".
        """
        self.template = _floats(model["template"])
        basis = _floats(model["shape_basis"]).permute(2, 0, 1)
        self.identity_basis = basis[:N_SHAPE].contiguous()
        self.expression_basis = basis[FIRST_EXPRESSION : FIRST_EXPRESSION + N_EXPRESSION].contiguous()
        if len(self.expression_basis) < N_EXPRESSION:
            raise InstaFaceError(f"FLAME has {len(basis)} shape components, at least 350 are needed; add another file")
        self.pose_basis = _floats(model["pose_basis"]).permute(2, 0, 1).contiguous()
        self.joint_regressor = _floats(model["joint_regressor"])
        self.skinning = _floats(model["skinning"])
        self.parents = tuple(int(p) for p in model["parents"])
        self.faces = _indices(model["faces"])
        self.uv, self.uv_faces = _floats(uv[0]), _indices(uv[1])
        self.head_weight = 1 - self.skinning[:, ROOT]
        self.expression_names = tuple(f"flame{k:02d}" for k in range(N_EXPRESSION))
        self.regions = {name: torch.arange(part.start, part.stop) for name, part in EYEBALLS.items()}
        self.regions |= {name: _indices(part) for name, part in (regions or {}).items()}
        self.arkit: Arkit | None = None
        self._schemes: dict[str, tuple[Tensor, Tensor]] = {}
        self._contour: tuple[Tensor, Tensor] | None = None
        if landmarks is not None:
            self.add_landmarks("ibug", landmarks["full_faces"][0], landmarks["full_bary"][0])
            self.add_landmarks("static", landmarks["static_faces"], landmarks["static_bary"])
            self._contour = _indices(landmarks["dynamic_faces"]), _floats(landmarks["dynamic_bary"])
        self.mediapipe_indices: Tensor | None = None
        if mediapipe is not None:
            self.add_landmarks("mediapipe-105", mediapipe["faces"], mediapipe["bary"])
            self.mediapipe_indices = _indices(mediapipe["indices"])
        self.texture_space = texture_space
        if texture is None:
            self._texture_mean = torch.full((3, 16, 16), PLAIN_SKIN)
            self._texture_basis = torch.zeros(self.n_albedo, 3, 16, 16)
        else:
            self._texture_mean, self._texture_basis = _floats(texture["mean"]), _floats(texture["basis"])

    @classmethod
    def load(cls, texture: str | None = None) -> FLAME:
        """The model from the user's files, read once per process.

        Args:
            texture: "bfm" or "flame"; by default what was added, "bfm" first: DECA was trained with it.

        Raises:
            InstaFaceError: a file that is needed was not added.
        """
        return _load(texture, str(assets.home()))

    def pose(self, shape: Tensor, expression: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """Linear blend skinning with pose correctives (the paper's equations 1-3).

        Args:
            shape: (B, 100) coefficients in standard deviations.
            expression: (B, 50) coefficients in standard deviations.
            rotations: (B, 5, 3, 3) of root, neck, jaw, left eye, right eye, each relative to its parent.

        Returns:
            (B, V, 3) vertices and (B, 5, 3) posed joints, metres; the root joint stays where it is.
        """
        batch = len(shape)
        shaped = self.template + (shape @ self.identity_basis.flatten(1)).view(batch, -1, 3)
        shaped = shaped + (expression @ self.expression_basis.flatten(1)).view(batch, -1, 3)
        joints = torch.einsum("jv,bvc->bjc", self.joint_regressor, shaped)
        correctives = (rotations[:, 1:] - torch.eye(3, dtype=rotations.dtype, device=rotations.device)).flatten(
            1
        )  # (B, 36)
        shaped = shaped + (correctives @ self.pose_basis.flatten(1)).view(batch, -1, 3)
        # World rotation and position of each joint, down the tree.
        world, places = [rotations[:, 0]], [joints[:, 0]]
        for j in range(1, len(self.parents)):
            p = self.parents[j]
            places.append(places[p] + _turn(world[p], (joints[:, j] - joints[:, p])[:, None])[:, 0])
            world.append(world[p] @ rotations[:, j])
        # Each vertex moves with each joint, in shares.
        vertices = torch.zeros_like(shaped)
        for j, (rotation, place) in enumerate(zip(world, places, strict=True)):
            moved = _turn(rotation, shaped - joints[:, j, None]) + place[:, None]
            vertices = vertices + self.skinning[:, j, None] * moved
        return vertices, torch.stack(places, 1)

    def to(self, device: torch.device | str) -> FLAME:
        """A copy of the model whose tensors lie on ``device``."""
        out = super().to(device)
        if self.arkit is not None:
            tensors = {name: getattr(self.arkit, name).to(device) for name in ("matrix", "metric", "residual")}
            out.arkit = replace(self.arkit, **tensors)
        return out

    def set_arkit(self, arkit: Arkit) -> None:
        """Lets ``expression`` end with the weights of ARKit blendshapes."""
        self.arkit = arkit
        self.expression_names = (*self.expression_names[:N_EXPRESSION], *arkit.names)

    @property
    def weight_names(self) -> tuple[str, ...]:
        """The ARKit names."""
        return self.expression_names[N_EXPRESSION:]

    def own_expression(self, parameters: FaceParameters) -> tuple[Tensor, Tensor]:
        """FLAME's own (B, 50) expression coefficients and (B, 3) jaw in radians, the ARKit weights' share included."""
        own, weights = parameters.expression.split([N_EXPRESSION, parameters.expression.shape[1] - N_EXPRESSION], 1)
        jaw = torch.deg2rad(parameters.jaw)
        if self.arkit is None:
            return own, jaw
        added = weights @ self.arkit.matrix.T
        return own + added[:, :N_EXPRESSION], jaw + added[:, N_EXPRESSION:]

    def explain(self, parameters: FaceParameters, sparse: float = 0.05) -> FaceParameters:
        """The same face with as much of its expression and jaw as possible said in ARKit weights 0..1.

        Edits set ARKit weights absolutely: a tracked smile has to be there as ``mouthSmile`` to be replaced. What the
        blendshapes cannot say stays in FLAME's own coefficients, so that the vertices do not change.

        Args:
            parameters: batch of B; their ARKit weights so far are taken into account.
            sparse: cost of a full weight, centimetres of landmark movement; keeps idle weights at 0.
        """
        if self.arkit is None:
            return parameters
        from scipy.optimize import lsq_linear

        matrix, metric = self.arkit.matrix.double().numpy(), self.arkit.metric.double().numpy()
        total = torch.cat(self.own_expression(parameters), 1)
        left = np.concatenate([metric @ matrix, sparse * np.eye(len(self.arkit.names))])
        weights = np.stack(
            [
                lsq_linear(left, np.concatenate([metric @ row, np.zeros(left.shape[1])]), (0, 1)).x
                for row in total.double().numpy()
            ]
        )
        found = torch.from_numpy(weights.round(4)).float()
        rest = total - found @ self.arkit.matrix.T
        return parameters.replace(
            expression=torch.cat([rest[:, :N_EXPRESSION], found], 1), jaw=torch.rad2deg(rest[:, N_EXPRESSION:])
        )

    def rotations(self, parameters: FaceParameters) -> Tensor:
        """(B, 5, 3, 3) rotations of the joints, each relative to its parent."""
        body, head = rotation_from_angles(parameters.body), rotation_from_angles(parameters.head)
        eyes = rotation_from_angles(torch.nn.functional.pad(parameters.gaze, (0, 1)))
        jaw = rotation_from_vector(self.own_expression(parameters)[1])
        return torch.stack([body, body.transpose(1, 2) @ head, jaw, eyes[:, 0], eyes[:, 1]], 1)

    def vertices(self, parameters: FaceParameters) -> Tensor:
        """(B, V, 3) vertices in camera space, centimetres; tensors, also of parameters that are NumPy arrays."""
        parameters = parameters.torch()
        expression, _ = self.own_expression(parameters)
        posed, joints = self.pose(parameters.identity, expression, self.rotations(parameters))
        return parameters.translation[:, None] + CENTIMETRES * (posed - joints[:, NECK, None])

    def add_landmarks(self, scheme: str, faces: NDArray[Any], bary: NDArray[Any]) -> None:
        """Makes L landmarks known by (L,) triangles and (L, 3) barycentric coordinates."""
        self._schemes[scheme] = _indices(faces), _floats(bary)

    def landmarks(self, vertices: Tensor, scheme: str) -> Tensor:
        """(B, L, 3) landmarks of posed ``vertices``, fixed on the mesh.

        Schemes: "ibug" (68), "static" (the last 51 of them), "mediapipe" (478, carried over from OpenHead), and, where
        its file was added, "mediapipe-105" (those of MediaPipe's that FLAME's authors placed).

        Raises:
            ValueError: no such scheme.
        """
        if scheme not in self._schemes:
            raise ValueError(f"FLAME has no landmark scheme {scheme!r}; it has {sorted(self._schemes)}")
        faces, weights = self._schemes[scheme]
        return torch.einsum("blkc,lk->blc", vertices[:, self.faces[faces]], weights)

    def landmarks_as_seen(self, vertices: Tensor, rotation: Tensor) -> Tensor:
        """(B, 68, 3) landmarks whose 17 contour points slide along the jaw with the head's yaw, as 2D detectors see it.

        Args:
            vertices: (B, V, 3) posed vertices.
            rotation: (B, 3, 3) of the head in camera space (FLAME's root times its neck).
        """
        if self._contour is None:
            raise ValueError("FLAME's landmarks were not added: `instaface assets add landmark_embedding.npy`")
        faces, weights = (table[contour_row(rotation)] for table in self._contour)  # (B, 17), (B, 17, 3)
        corners = self.faces[faces].flatten(1)
        points = torch.gather(vertices, 1, corners[..., None].expand(-1, -1, 3)).view(*faces.shape, 3, 3)
        contour = torch.einsum("blkc,blk->blc", points, weights)
        return torch.cat([contour, self.landmarks(vertices, "static")], 1)

    def texture(self, coefficients: Tensor) -> Tensor:
        """(B, 50) coefficients to (B, 3, S, S) albedo in the photo's own values (not linear), about 0..1, unclamped.

        Row 0 is v = 1. This is what DECA multiplies with its shading.
        """
        change = (coefficients @ self._texture_basis.flatten(1)).view(-1, *self._texture_mean.shape)
        return self._texture_mean + change

    def albedo(self, coefficients: Tensor) -> Tensor:
        """(B, 50) coefficients to (B, 3, S, S) linear RGB, 0..1; row 0 is v = 1."""
        return self.texture(coefficients).clamp(0, 1) ** DISPLAY_GAMMA


def contour_row(rotation: Tensor) -> Tensor:
    """(B, 3, 3) head rotations to (B,) rows of the dynamic contour: 0-39 for yaw 0 to 39 and more, 40-78 for -1 to -39.

    The angle is the rotation about y, positive where the nose points to the right edge of the picture.
    """
    across = torch.sqrt(rotation[:, 0, 0] ** 2 + rotation[:, 1, 0] ** 2)
    yaw = torch.rad2deg(torch.atan2(-rotation[:, 2, 0], across)).clamp(max=39).round().long()
    return torch.where(yaw >= 0, yaw, torch.where(yaw >= -39, 39 - yaw, 78))


def rotation_from_vector(vector: Tensor) -> Tensor:
    """(..., 3) axis-angle vectors in radians to (..., 3, 3) matrices (Rodrigues), differentiable at zero."""
    x, y, z = vector.unbind(-1)
    o = torch.zeros_like(x)
    skew = torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))
    return torch.linalg.matrix_exp(skew)


def _turn(rotation: Tensor, points: Tensor) -> Tensor:
    """(B, 3, 3) rotations times (B, N, 3) points."""
    return points @ rotation.transpose(1, 2)


def _floats(array: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _indices(array: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.int64))


@cache
def _load(texture: str | None, home: str) -> FLAME:
    """``home`` only tells one set of files from another."""

    def optional(kind: str) -> Mapping[str, NDArray[Any]] | None:
        return assets.load(kind)[0] if assets.has(kind) else None

    model, _ = assets.load("flame")
    spaces = [texture] if texture else [s for s in ("bfm", "flame") if assets.has(f"{s}-texture")]
    maps = assets.load(f"{spaces[0]}-texture")[0] if spaces else None
    uv = optional("flame-uv") or optional("flame-texture") or {}
    if "uv" not in uv:
        raise InstaFaceError(
            "FLAME's texture coordinates are missing; add DECA's data/head_template.obj with `instaface assets add`"
        )
    if "faces" in uv and not np.array_equal(uv["faces"], model["faces"]):
        raise InstaFaceError(
            "head_template.obj and generic_model.pkl have different triangles; add files of one release"
        )
    flame = FLAME(
        model,
        (uv["uv"], uv["uv_faces"]),
        landmarks=assets.load("flame-landmarks")[0],
        mediapipe=optional("flame-mediapipe"),
        texture=maps,
        texture_space=spaces[0] if spaces else "none",
        regions=_regions(optional("flame-masks") or {}),
    )
    from instaface.face.openhead import OpenHead
    from instaface.face.transfer import adopt

    adopt(flame, OpenHead.load("numpy"))
    return flame


def _regions(masks: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """FLAME's masks by our names: `left_ear` is our `ear_left`; the eyeballs are known anyway."""
    out = {}
    for name, vertices in masks.items():
        side, _, part = name.partition("_")
        if part != "eyeball":
            out[f"{part}_{side}" if side in ("left", "right") else name] = vertices
    return out
