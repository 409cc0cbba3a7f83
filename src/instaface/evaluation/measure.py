"""The figures of one row: a source, an edit and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from instaface.evaluation import regions
from instaface.evaluation.cheeks import LEFT, LUMINANCE, RIGHT, cheek_ratio
from instaface.evaluation.inception import VGG, lpips, missing
from instaface.evaluation.pixels import colour_shift, psnr, sharpness_kept, ssim, ssim_map
from instaface.evaluation.pose import pose_by_five_points, pose_by_pnp
from instaface.face import FaceParameters, Mesh, MorphableModel
from instaface.face.light import shade
from instaface.recognise import FaceRecogniser
from instaface.recognise.align import crop_similarity
from instaface.recognise.dlib_resnet import five_points
from instaface.track import TrackedFace

ANGLES = ("yaw", "pitch", "roll")
ASKED_WEIGHT = 0.02  # a smaller change of an expression weight counts as not asked for
EYE_CORNERS = (33, 263)
ALIGNED = 256  # side in pixels of the aligned faces that are held against a truth
# Region: the kinds of edit that may change it.
CONCERNED_BY: dict[str, set[str]] = {
    "background": set(),
    "clothes": {"light", "self", "cross"},
    "hair": {"light", "pose", "self", "cross"},
    "worn": {"light", "pose", "self", "cross"},
}

Figures = dict[str, float]


@dataclass(frozen=True)
class Judged:
    """A tracked face with what judges that are not the tracker say of it.

    Attributes:
        face: the tracked face.
        model: that its parameters belong to.
        pose: (3,) degrees by perspective-n-point.
        pose_five: (3,) degrees by dlib's five points.
        cheeks: log2 ratio of cheek luminances.
        embeddings: (D,) of each recogniser, by name.
    """

    face: TrackedFace
    model: MorphableModel
    pose: NDArray[np.float64]
    pose_five: NDArray[np.float64]
    cheeks: float
    embeddings: dict[str, NDArray[np.float32]]

    @cached_property
    def predicted_cheeks(self) -> float:
        """Log2 ratio of cheek luminances by the tracked light, see :func:`predicted_cheek_ratio`."""
        return predicted_cheek_ratio(self.model.mesh(self.face.parameters), self.face.parameters, self.model)

    @cached_property
    def seen(self) -> regions.Seen:
        """The regions in the view of the face's own frame."""
        return regions.seen(self.face, self.face.frame, self.model)


def judge(face: TrackedFace, model: MorphableModel, recognisers: Sequence[FaceRecogniser]) -> Judged:
    """Ask all judges about a face."""
    pixels = face.photo.pixels
    return Judged(
        face,
        model,
        pose_by_pnp(face.landmarks, face.camera),
        pose_by_five_points(five_points(pixels, face.box)),
        cheek_ratio(pixels, face.landmarks),
        {recogniser.name: recogniser.embed_face(pixels, face.landmarks) for recogniser in recognisers},
    )


def control_figures(source: Judged, edit: Judged, target: FaceParameters) -> Figures:
    """What was asked and what came out.

    For each angle the change asked, the change that came out by the tracker, by PnP and by five points, degrees. Of
    the expression the size of the asked change of weights, what came out of it (projected on it), the mean error of
    the asked weights and the largest change of the others (crosstalk). The distance of the landmarks from where the
    target puts them, in % of the inter-ocular distance. Of the light the change of the log2 ratio of cheek luminances
    that the lit mesh predicts, what came out, and how far the ratio is from the predicted one, in %.
    """
    wished, before, after = (p.numpy() for p in (target, source.face.parameters, edit.face.parameters))
    figures: Figures = {}
    asked, got = _turned(wished.head - before.head), _turned(after.head - before.head)
    pnp, five = ((b - a + 180) % 360 - 180 for a, b in ((source.pose, edit.pose), (source.pose_five, edit.pose_five)))
    for k, name in enumerate(ANGLES):
        figures |= {f"{name}_asked": asked[k], f"{name}_got": got[k]}
        figures |= {f"{name}_pnp": float(pnp[k]), f"{name}_five": float(five[k])}

    wanted = (wished.expression - before.expression)[0].astype(np.float64)
    came = (after.expression - before.expression)[0].astype(np.float64)
    named = np.abs(wanted) > ASKED_WEIGHT
    size = float(np.linalg.norm(wanted[named]))
    figures["expression_asked"] = size
    figures["expression_got"] = float(wanted[named] @ came[named]) / size if size else float("nan")
    figures["expression_error"] = float(np.abs(came - wanted)[named].mean()) if named.any() else float("nan")
    figures["crosstalk"] = float(np.abs(came)[~named].max())

    mesh = source.model.mesh(target)
    figures["landmark_distance"] = landmark_distance(edit.face, mesh, source.model)
    predicted = predicted_cheek_ratio(mesh, target, source.model)
    figures["light_asked"] = predicted - source.predicted_cheeks
    figures["light_got"] = edit.cheeks - source.cheeks
    figures["light_error"] = 100 * (float(np.exp2(abs(edit.cheeks - predicted))) - 1)
    return figures


def _turned(difference: NDArray[np.float32]) -> list[float]:
    """(1, 3) differences of angles to three of -180..180."""
    return [float(angle) for angle in (difference[0] + 180) % 360 - 180]


def landmark_distance(face: TrackedFace, target: Mesh, model: MorphableModel) -> float:
    """Mean distance of the landmarks from those of the target, in % of the photo's inter-ocular distance."""
    points = np.asarray(model.landmarks(target.vertices, "mediapipe")[0])
    wanted = face.camera.project(points)[:, :2]
    eyes = points[list(EYE_CORNERS)]
    size = face.camera.focal * float(np.linalg.norm(eyes[0] - eyes[1]) / -eyes[:, 2].mean())  # as seen from the front
    return float(100 * np.linalg.norm(face.landmarks - wanted, axis=1).mean() / size)


def predicted_cheek_ratio(mesh: Mesh, parameters: FaceParameters, model: MorphableModel) -> float:
    """Log2 ratio of left to right cheek luminance of the mesh of a face, in its light, equal albedo assumed."""
    normals, light, sides = np.asarray(mesh.normals()), np.asarray(parameters.light), []
    for cheek in _cheeks(model):
        shading = shade(normals[:, cheek], light)[0].clip(0).astype(np.float64)
        sides.append(float((shading @ LUMINANCE).mean()))
    return float(np.log2((sides[0] + 1e-2) / (sides[1] + 1e-2)))


@lru_cache(maxsize=2)
def _cheeks(model: MorphableModel) -> list[NDArray[np.int64]]:
    """Vertices of the skin of the left and the right cheek, where the landmarks lie that are looked at."""
    vertices = model.vertices(model.neutral())
    points, skin = np.asarray(model.landmarks(vertices, "mediapipe")[0]), np.asarray(model.regions["face"])
    near = cKDTree(np.asarray(vertices[0])[skin])
    return [skin[near.query(points[list(cheek)])[1]] for cheek in (LEFT, RIGHT)]


def picture_figures(source: Judged, edit: Judged, pixels: NDArray[np.uint8], kind: str) -> Figures:
    """What the edit does not concern: regions before and after, and the sharpness of the face.

    Background always, clothes unless the light moves, hair and what is worn only where neither head nor light do.
    """
    frame = source.face.frame
    before, after = regions.view(source.face.photo.pixels, frame), regions.view(pixels, frame)
    kept = [name for name, controls in CONCERNED_BY.items() if not controls & set(kind.split("+"))]
    one, other = source.seen, regions.seen(edit.face, frame, edit.model if "worn" in kept else None)
    local = ssim_map(before, after)
    figures: Figures = {}
    for name in kept:
        mask = getattr(regions, name)(one, other)
        if mask.mean() < 0.002:
            continue
        figures[f"{name}_psnr"] = psnr(before, after, mask)
        figures[f"{name}_ssim"] = float(local[mask].mean())
        figures[f"{name}_shift"] = colour_shift(before, after, mask)
        if not missing(VGG):
            figures[f"{name}_lpips"] = lpips(before, np.where(mask[..., None], after, before))
    figures["whole_psnr"] = psnr(before, after)
    figures["sharpness"] = sharpness_kept(before, after, one.face, other.face)
    return figures


def truth_figures(edit: Judged, truth: Judged, recogniser: FaceRecogniser) -> Figures:
    """The aligned face held against the aligned face of the frame that drove it."""
    scale = ALIGNED / recogniser.size
    one, other = (
        crop_similarity(
            judged.face.photo.pixels, recogniser.points(judged.face.landmarks), recogniser.template * scale, ALIGNED
        )
        for judged in (edit, truth)
    )
    figures = {"truth_psnr": psnr(one, other), "truth_ssim": ssim(one, other)}
    return figures if missing(VGG) else figures | {"truth_lpips": lpips(one, other)}
