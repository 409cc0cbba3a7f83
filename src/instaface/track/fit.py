"""A face model fitted to dense landmarks: identity, expression, gaze, pose, in a perspective camera.

Maximum a posteriori by Gauss-Newton with Levenberg's damping on a robust error (Geman and McClure 1987): unit normal
identity, expression weights in 0..1 with a sparse prior, and pose free. See Blanz and Vetter 1999 for the model and
Triggs et al. 2000 for robust Gauss-Newton.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from instaface.face import Camera
from instaface.track.threads import one_thread

if TYPE_CHECKING:
    from instaface.face import FaceParameters, OpenHead

Floats = NDArray[np.float64]

N_LANDMARKS = 478
# fmt: off
OUTLINE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
# fmt: on
IRISES = (range(468, 473), range(473, 478))  # of the eye at the picture's left, and right
EYES = ((159, 145, 33, 133), (386, 374, 263, 362))  # their upper and lower lid, outer and inner corner
OUTLINE_TRUST = 0.3
IRIS_TRUST = 2.0
STEPS = 7  # Gauss-Newton steps at most, at each of the limits of ROBUST
ENOUGH = 3e-3  # relative decrease of the cost below which a round ends
IDENTITY_LIMIT = 3.0  # standard deviations
NOISE = 0.012  # of a landmark, in inter-ocular distances
ROBUST = (40.0, 5.0)  # residuals beyond this many times the noise lose their say: hardly at first, then soon
# Cost of a full expression weight, in squared standard deviations; it keeps idle weights at 0. A jaw that comes forward
# looks from the front like a longer face, and would take a share of every mouth that opens.
COMMON, RARE, UNLIKELY = 0.1, 8.0, 40.0
UNLIKELY_EXPRESSIONS = ("jawForward",)
COMMON_EXPRESSIONS = (
    *("jawOpen", "mouthSmileLeft", "mouthSmileRight", "mouthPucker"),
    *("eyeBlinkLeft", "eyeBlinkRight", "browInnerUp"),
)
# Weights of faces at rest, by training photos fitted without bounds: from there on they count. A weight that rests
# below 0 is held there, and its first part is not seen when it rises. Lips rest at a pucker of -0.24; with all of that
# an opened mouth is read as a funnel.
REST = {"browInnerUp": -0.1, "mouthPucker": -0.15}
IDENTITY_SPREAD = 0.6  # standard deviation of the modes about those of the mean face; as measured on training faces
RIDGE, COMMON_RIDGE = 1.0, 5.0  # standard deviation of an expression weight, and of a common one
TWIN = 0.15  # standard deviation of the difference of a left and a right weight
GAZE = 15.0  # degrees, standard deviation of the gaze
UNSEEN = ("tongueOut",)  # expressions that landmarks do not show
VERGENCE = 3.0  # degrees, standard deviation of the difference between the eyes


@dataclass(frozen=True)
class Basis:
    """The landmarks of a face model as linear functions of its parameters, in model space, centimetres.

    Attributes:
        mean: (L, 3).
        modes: (K, I) orthonormal directions of identity, most important first. The prior is the same unit normal in
            any orthonormal basis, and what the landmarks cannot see stays at the mean.
        mode_shapes: (K, L, 3) movement of the landmarks along the modes.
        mode_eyes: (K, 2, 3) of the centres of the eyeballs.
        expression: (E, L, 3) by a full weight.
        free: (E,) bool: weights that are fitted. Where the eyes look is fitted as ``gaze``.
        common: (E,) bool: weights that people often use.
        unlikely: (E,) bool: weights that are hardly seen, and mistaken for others.
        twin: (E,) int: index of the same expression on the other side of the face, its own where there is none.
        look: (2, 2, 2, L, 3) movement of the lids with a full look of (left, right) eye along (horizontal, vertical),
            (positive, negative).
        max_gaze: radians of a full look.
        neck: (3,) the joint that the head turns about.
        eye: (L,) int: 0 on the left eyeball, 1 on the right one, else -1.
        eye_centre: (2, 3).
        blink: (2,) int, the weights that close the left and the right eye.
        closing: (2,) how far their offsets must go to close the mean eye, and closing_modes: (K, 2) along the modes.
        usual: (K,) modes of the mean face of photos, the middle of the prior.
        turns: (2, L, 3) movement of the landmarks a radian of yaw and of pitch, beyond the head's own.
    """

    mean: Floats
    modes: Floats
    mode_shapes: Floats
    mode_eyes: Floats
    expression: Floats
    free: NDArray[np.bool_]
    common: NDArray[np.bool_]
    unlikely: NDArray[np.bool_]
    twin: NDArray[np.int64]
    look: Floats
    max_gaze: float
    neck: Floats
    eye: NDArray[np.int64]
    eye_centre: Floats
    blink: NDArray[np.int64]
    closing: Floats
    closing_modes: Floats
    usual: Floats
    turns: Floats


@dataclass(frozen=True)
class Calibration:
    """How landmarks found in photos differ from the same points of the model (``tools/calibrate_landmarks.py``).

    Attributes:
        offset: (L, 3) centimetres in model space from the model's point to where the landmark network sees it.
        identity: (I,) the mean face of photos, standard deviations.
        expression: (E, L, 3) centimetres in model space that a full weight moves the landmarks as the network sees
            them (``tools/calibrate_expressions.py``); it follows a face only part of the way.
        turns: (2, L, 3) centimetres in model space a radian of yaw and of pitch: what the landmarks of a turned head
            lack, or have too much (``tools/calibrate_turns.py``).
    """

    offset: Floats
    identity: Floats
    expression: Floats
    turns: Floats

    @classmethod
    def none(cls, model: OpenHead) -> Calibration:
        """Landmarks lie where the model has them, and the mean face is the model's."""
        own = model.landmark_basis("mediapipe").expression.astype(np.float64)
        return cls(np.zeros((N_LANDMARKS, 3)), np.zeros(model.n_identity), own, np.zeros((2, N_LANDMARKS, 3)))

    def from_rest(self, model: OpenHead) -> Calibration:
        """The same, with weights that are 0 where faces at rest have them (``REST``)."""
        names = list(model.expression_names)
        shift = sum(weight * self.expression[names.index(name)] for name, weight in REST.items())
        return replace(self, offset=self.offset + shift)

    def without_turns(self) -> Calibration:
        """The same, for heads that look ahead."""
        return replace(self, turns=np.zeros_like(self.turns))

    @classmethod
    def load(cls, model: OpenHead) -> Calibration:
        """What ships for a model."""
        with np.load(Path(__file__).parents[1] / "assets" / f"landmarks_{model.name}.npz") as stored:
            offset, identity, expression = (stored[n].astype(np.float64) for n in ("offset", "identity", "expression"))
            turns = stored["turns"] if "turns" in stored else np.zeros((2, *offset.shape))  # they are learned last
        return cls(offset, identity, expression, turns.astype(np.float64))


@functools.cache
def landmark_basis(model: OpenHead) -> Basis:
    """The MediaPipe landmarks of a model as they are found in photos."""
    return reduced_basis(model, Calibration.load(model).from_rest(model))


def reduced_basis(model: OpenHead, calibration: Calibration, keep: float = 0.9999) -> Basis:
    """The MediaPipe landmarks of a model, reduced to the modes that hold the share ``keep`` of their variance."""
    from instaface.face.openhead import BLINK, LOOK, MAX_GAZE

    full = model.landmark_basis("mediapipe")
    names = list(model.expression_names)
    identity, expression = full.identity.astype(np.float64), calibration.expression
    u, s, _ = np.linalg.svd(identity.reshape(len(identity), -1), full_matrices=False)
    modes = u[:, : int(np.searchsorted(np.cumsum(s**2) / (s**2).sum(), keep)) + 1].T
    look = np.array([[[expression[names.index(n)] for n in eye[i : i + 2]] for i in (0, 2)] for eye in LOOK])
    return Basis(
        mean=full.mean.astype(np.float64) + calibration.offset,
        modes=modes,
        mode_shapes=np.tensordot(modes, identity, 1),
        mode_eyes=np.tensordot(modes, full.eye_centre_identity.astype(np.float64), 1),
        expression=expression,
        free=np.array([not name.startswith("eyeLook") and name not in UNSEEN for name in names]),
        common=np.array([name in COMMON_EXPRESSIONS for name in names]),
        unlikely=np.array([name in UNLIKELY_EXPRESSIONS for name in names]),
        twin=np.array([names.index(_other_side(name)) for name in names]),
        look=look,
        max_gaze=float(np.deg2rad(MAX_GAZE)),
        neck=full.neck_joint.astype(np.float64),
        eye=full.eye,
        eye_centre=full.eye_centre.astype(np.float64),
        blink=np.array([names.index(name) for name in BLINK]),
        closing=full.closing.astype(np.float64),
        closing_modes=modes @ full.closing_identity.astype(np.float64),
        usual=modes @ calibration.identity,
        turns=calibration.turns,
    )


def _other_side(name: str) -> str:
    """The same expression on the other half of the face."""
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name[: -len(side)] + other
    return name


@dataclass(frozen=True)
class Fit:
    """What :func:`fit` finds.

    Attributes:
        identity: (I,) standard deviations.
        expression: (E,) weights 0..1.
        gaze: (2, 2) degrees, (left, right) eye by (horizontal, vertical).
        head: (3,) degrees: yaw, pitch, roll.
        translation: (3,) centimetres, of the neck joint.
        projected: (L, 2) fitted landmarks in pixels.
        error: mean distance of fitted from found landmarks, in % of the inter-ocular distance.
    """

    identity: Floats
    expression: Floats
    gaze: Floats
    head: Floats
    translation: Floats
    projected: Floats
    error: float


def rotation(angles: Floats) -> tuple[Floats, Floats]:
    """Head rotation of (yaw, pitch, roll) in radians and its derivatives by them: (3, 3) and (3, 3, 3)."""
    (sy, sp, sr), (cy, cp, cr) = np.sin(angles), np.cos(angles)
    yaw, dyaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]), np.array([[-sy, 0, cy], [0, 0, 0], [-cy, 0, -sy]])
    pitch, dpitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]]), np.array([[0, 0, 0], [0, -sp, cp], [0, -cp, -sp]])
    roll, droll = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]]), np.array([[-sr, cr, 0], [-cr, -sr, 0], [0, 0, 0]])
    return yaw @ pitch @ roll, np.stack([dyaw @ pitch @ roll, yaw @ dpitch @ roll, yaw @ pitch @ droll])


class _State:
    """Parameters, and where in the vector of unknowns each lies: pose 6, gaze 4, modes K, expression E."""

    def __init__(self, basis: Basis, angles: Floats, translation: Floats) -> None:
        self.basis = basis
        self.angles, self.translation = angles, translation
        self.gaze = np.zeros((2, 2))  # radians
        self.modes = basis.usual.copy()
        self.expression = np.zeros(len(basis.expression))

    def moved(self, step: Floats) -> _State:
        """The state after a step, weights held in 0..1."""
        out = object.__new__(_State)
        k = 10 + len(self.modes)
        out.basis = self.basis
        out.angles, out.translation = self.angles + step[:3], self.translation + step[3:6]
        out.gaze = np.clip(self.gaze + step[6:10].reshape(2, 2), -0.9, 0.9)
        out.modes = self.modes + step[10:k]
        out.expression = np.clip(self.expression + step[k:], 0, 1)
        return out

    def shape(self) -> tuple[Floats, Floats]:
        """(L, 3) landmarks in model space and (4 + K + E, L, 3) derivatives by gaze, modes and expression."""
        b = self.basis
        by_expression = b.expression.copy()
        by_expression[b.blink] *= (b.closing + self.modes @ b.closing_modes)[:, None, None]
        points = b.mean + np.tensordot(self.modes, b.mode_shapes, 1) + np.tensordot(self.expression, by_expression, 1)
        centers = b.eye_centre + np.tensordot(self.modes, b.mode_eyes, 1)
        by_gaze, by_modes = np.zeros((2, 2, *points.shape)), b.mode_shapes.copy()
        by_modes += np.tensordot(b.closing_modes * self.expression[b.blink], b.expression[b.blink], 1)
        for side in (0, 1):
            on = b.eye == side
            turn, derivatives = rotation(np.array([*self.gaze[side], 0.0]))
            arm, center_by_modes = points[on] - centers[side], b.mode_eyes[:, side, None]
            points[on] = centers[side] + arm @ turn.T
            by_modes[:, on] = center_by_modes + (b.mode_shapes[:, on] - center_by_modes) @ turn.T
            for axis in (0, 1):
                by_gaze[side, axis, on] = arm @ derivatives[axis].T
                sign = 1 if self.gaze[side, axis] >= 0 else -1  # the lids follow
                lids = sign * b.look[side, axis, 0 if sign > 0 else 1] / b.max_gaze
                points += self.gaze[side, axis] * lids
                by_gaze[side, axis] += lids
        return points, np.concatenate([by_gaze.reshape(4, *points.shape), by_modes, by_expression], 0)


def _project(points: Floats, camera: Camera) -> tuple[Floats, Floats]:
    """(L, 3) camera-space points to (L, 2) pixels, and (L, 2, 3) derivatives."""
    depth = -points[:, 2]
    x, y = points[:, 0] / depth, points[:, 1] / depth
    zero, scale = np.zeros_like(x), camera.focal / depth
    pixels = np.stack([camera.center[0] + camera.focal * x, camera.center[1] - camera.focal * y], -1)
    by_point = np.stack([np.stack([scale, zero, scale * x], -1), np.stack([zero, -scale, -scale * y], -1)], 1)
    return pixels, by_point


def _linearise(state: _State, camera: Camera) -> tuple[Floats, Floats]:
    """(L, 2) projected landmarks and (L, 2, N) derivatives by the unknowns."""
    b = state.basis
    points, by_shape = state.shape()
    turn, turns = rotation(state.angles)
    arm = points + np.tensordot(state.angles[:2], b.turns, 1) - b.neck
    pixels, by_point = _project(arm @ turn.T + state.translation, camera)
    by_model = by_point @ turn  # (L, 2, 3)
    by_angles = np.stack([np.einsum("lpc,lc->lp", by_point, arm @ d.T) for d in turns], -1)
    by_angles[..., :2] += np.einsum("lpc,alc->lpa", by_model, b.turns)
    by_shape = np.matmul(by_model, by_shape.transpose(1, 2, 0))
    return pixels, np.concatenate([by_angles, by_point, by_shape], -1)


def predicted(basis: Basis, parameters: FaceParameters, camera: Camera) -> Floats:
    """(L, 2) pixels where the landmarks of a face, batch of 1, are expected to be found."""
    one = parameters.map(lambda array: np.asarray(array[0], np.float64))
    state = _State(basis, np.deg2rad(one.head), one.translation)
    state.gaze, state.modes, state.expression = np.deg2rad(one.gaze), basis.modes @ one.identity, one.expression
    return _linearise(state, camera)[0]


def initial_pose(basis: Basis, landmarks: Floats, camera: Camera) -> tuple[Floats, Floats]:
    """Angles (radians) and translation of the mean face: perspective-n-point (Lepetit et al. 2009), then refined."""
    import cv2

    flip = np.diag([1.0, -1.0, -1.0])  # OpenCV looks along +z, y down
    still = basis.eye < 0
    matrix = np.array([[camera.focal, 0, camera.center[0]], [0, camera.focal, camera.center[1]], [0, 0, 1]])
    model = (basis.mean - basis.neck)[still]
    _, vector, offset = cv2.solvePnP(model, landmarks[still], matrix, None, flags=cv2.SOLVEPNP_EPNP)
    turn = flip @ cv2.Rodrigues(vector)[0]
    return _angles(turn), flip @ offset[:, 0]


def _angles(turn: Floats) -> Floats:
    """(yaw, pitch, roll) in radians of a rotation; see :func:`instaface.face.angles_from_rotation`."""
    pitch = np.arcsin(np.clip(turn[1, 2], -1, 1))
    return np.array([np.arctan2(turn[0, 2], turn[2, 2]), pitch, np.arctan2(-turn[1, 0], turn[1, 1])])


def fit(basis: Basis, landmarks: Floats, camera: Camera, weights: Floats | None = None) -> Fit:
    """Fits a face model to landmarks.

    Args:
        basis: of the model.
        landmarks: (L, 2) pixels of the photo.
        camera: of the whole photo.
        weights: (L,) trust in each landmark, 1 by default, 0 to leave it out.
    """
    with one_thread():
        return _fitted(basis, np.asarray(landmarks, np.float64), camera, weights)


def _fitted(basis: Basis, landmarks: Floats, camera: Camera, weights: Floats | None) -> Fit:
    weights = trust(landmarks) * (1 if weights is None else weights)
    unit = interocular(landmarks)
    state = _State(basis, *initial_pose(basis, landmarks, camera))
    prior = _Prior(basis)
    scale = np.sqrt(weights)[:, None] / (NOISE * unit)
    pixels, jacobian = _linearise(state, camera)
    for limit in ROBUST:  # far from the solution all landmarks count: a wide open mouth is no outlier
        damping, cost = 1e-3, _cost(scale, pixels - landmarks, state, prior, limit)
        for _ in range(STEPS):
            errors = scale * (pixels - landmarks)
            robust = 1 / (1 + (errors**2).sum(1) / limit**2)  # Geman-McClure: its weight is the square of this
            rows = ((scale * robust[:, None])[..., None] * jacobian).reshape(-1, jacobian.shape[-1])
            gradient = rows.T @ (errors * robust[:, None]).ravel() + prior.gradient(state)
            step = _bounded_step(rows.T @ rows + prior.hessian, gradient, damping, state)
            trial = state.moved(step)
            pixels_trial, jacobian_trial = _linearise(trial, camera)
            cost_trial = _cost(scale, pixels_trial - landmarks, trial, prior, limit)
            if cost_trial < cost:
                done = cost - cost_trial < ENOUGH * cost
                state, pixels, jacobian, cost = trial, pixels_trial, jacobian_trial, cost_trial
                damping = max(damping / 5, 1e-6)
                if done:
                    break
            else:
                damping *= 10
    return _result(state, pixels, landmarks, unit)


def trust(landmarks: Floats) -> Floats:
    """(L,) how far each landmark is believed.

    Lids, lips and irises follow edges of the picture; the outline slides along the face as it turns, and the iris of an
    eye that is nearly closed is guessed.
    """
    out = np.ones(len(landmarks))
    out[list(OUTLINE)] = OUTLINE_TRUST
    for iris, (upper, lower, outer, inner) in zip(IRISES, EYES, strict=True):
        opening = np.linalg.norm(landmarks[upper] - landmarks[lower])
        width = np.linalg.norm(landmarks[outer] - landmarks[inner]) + 1e-9
        out[list(iris)] = IRIS_TRUST * np.clip((opening / width - 0.1) / 0.1, 0, 1)
    return out


def interocular(landmarks: Floats) -> float:
    """Pixels between the outer corners of the eyes."""
    return float(np.linalg.norm(landmarks[33] - landmarks[263])) + 1e-9


class _Prior:
    """Quadratic cost of the unknowns, and a linear one of expression weights."""

    def __init__(self, basis: Basis) -> None:
        modes, weights = len(basis.modes), len(basis.expression)
        self.first = 10 + modes
        n = self.first + weights
        hessian = np.zeros((n, n))
        hessian[range(10, self.first), range(10, self.first)] = 1 / IDENTITY_SPREAD**2
        tied = np.arange(weights)
        each = self.first + tied
        hessian[each, each] += 1 / np.where(basis.common, COMMON_RIDGE, RIDGE) ** 2
        for i, j in zip(tied, basis.twin, strict=True):
            if i < j:
                pair = self.first + np.array([i, j])
                hessian[np.ix_(pair, pair)] += np.array([[1, -1], [-1, 1]]) / TWIN**2
        for axis in (6, 7):
            pair = np.array([axis, axis + 2])
            hessian[np.ix_(pair, pair)] += np.eye(2) / np.deg2rad(GAZE) ** 2
            hessian[np.ix_(pair, pair)] += np.array([[1, -1], [-1, 1]]) / np.deg2rad(VERGENCE) ** 2
        self.sparse = np.select([basis.common, basis.unlikely], [COMMON, UNLIKELY], RARE)
        held = self.first + np.flatnonzero(~basis.free)
        hessian[held, held] += 1e9
        self.hessian = hessian

    def vector(self, state: _State) -> Floats:
        return np.concatenate([np.zeros(6), state.gaze.ravel(), state.modes - state.basis.usual, state.expression])

    def gradient(self, state: _State) -> Floats:
        out = self.hessian @ self.vector(state)
        out[self.first :] += self.sparse
        return out

    def cost(self, state: _State) -> float:
        v = self.vector(state)
        return float(0.5 * v @ self.hessian @ v + self.sparse @ state.expression)


def _cost(scale: Floats, errors: Floats, state: _State, prior: _Prior, limit: float) -> float:
    squares = ((scale * errors) ** 2).sum(1)
    return float(0.5 * (squares / (1 + squares / limit**2)).sum()) + prior.cost(state)


def _bounded_step(hessian: Floats, gradient: Floats, damping: float, state: _State) -> Floats:
    """The damped Gauss-Newton step under 0 <= expression <= 1: weights that would leave are held at their bound."""
    n, first = len(gradient), len(gradient) - len(state.expression)
    low, high = np.full(n, -np.inf), np.full(n, np.inf)
    low[first:], high[first:] = -state.expression, 1 - state.expression
    damped = hessian + damping * np.diag(np.diag(hessian))
    step, free = np.zeros(n), np.ones(n, bool)
    free[first:] = ~((low[first:] >= 0) & (gradient[first:] > 0) | (high[first:] <= 0) & (gradient[first:] < 0))
    for _ in range(8):
        index = np.flatnonzero(free)
        right = -gradient[index] - damped[np.ix_(index, ~free)] @ step[~free]
        step[index] = np.linalg.solve(damped[np.ix_(index, index)], right)
        out = free & ((step < low - 1e-9) | (step > high + 1e-9))
        if not out.any():
            break
        step = np.clip(step, low, high)
        free &= ~out
    return np.clip(step, low, high)


def _result(state: _State, pixels: Floats, landmarks: Floats, unit: float) -> Fit:
    identity = np.clip(state.modes @ state.basis.modes, -IDENTITY_LIMIT, IDENTITY_LIMIT)
    error = 100 * float(np.linalg.norm(pixels - landmarks, axis=1).mean()) / unit
    return Fit(
        identity, state.expression, np.rad2deg(state.gaze), np.rad2deg(state.angles), state.translation, pixels, error
    )
