"""Hair: what of a person is neither skin nor clothes.

Colour and texture models of skin, hair and clothes are learned from where each is likely in this very photo, given the
landmarks; then every pixel of the person is shared among them by colour, texture and place, smoothed along the
picture's edges (a mean-field step whose pairwise term is a guided filter).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OUTLIER = -22.0  # log-likelihood of a colour that no model knows
STRANGE = 6.0  # log-likelihood below what is usual for skin, from which a colour is not taken for skin
SIZE = 288  # pixels: longest side at which classes are decided
SCALE = 0.5  # of the filters that smooth them
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
BROWS_EYES_LIPS = (
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
)
# The nose's bridge, its tip; cheeks beside the nose and farther out, chin, between the brows. Not above the lip: the
# nose's shadow there looks like brown hair.
PATCHES = ((195,), (4,), (142, 101), (371, 330), (205,), (425,), (199,), (9,))
INSIDE = 0.06  # face heights inside of the face's oval that a patch has to lie
FOREHEAD, CHIN, EYE_CORNERS = 10, 152, (33, 263)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Place:
    """Where pixels lie relative to the face, in face heights (forehead to chin).

    Attributes:
        x: (H, W) to the picture's right of the head's axis, upright.
        y: (H, W) below the eyes.
        outside: (H, W) distance outside of the face's oval, negative inside.
        plain: (H, W) bool: skin of the face without brows, eyes and lips.
        marks: (H, W) bool: brows, eyes and lips.
        patches: (H, W) bool each: patches of skin, the one that is hardly ever covered first.
    """

    x: Floats
    y: Floats
    outside: Floats
    plain: NDArray[np.bool_]
    marks: NDArray[np.bool_]
    patches: list[NDArray[np.bool_]]


def shares(
    pixels: NDArray[np.uint8], person: Floats, landmarks: Floats, middle: Floats | None = None
) -> tuple[Floats, Floats]:
    """The shares of hair (hats count) and of clothes of each pixel.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        person: (H, W) float32 0..1.
        landmarks: (478, 2) in pixels.
        middle: (2,) pixels of the point between the ears, by default between the eyes.

    Returns:
        (H, W) float32 0..1 each, together at most ``person``.
    """
    import cv2

    from instaface.track.matte import guided

    height, width = person.shape
    scale = min(1.0, SIZE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(person, size, interpolation=cv2.INTER_AREA)
    classes = _classify(small, alpha, _place(landmarks * scale, size, None if middle is None else middle * scale))
    radius = max(2, round(0.008 * max(height, width)))
    large = cv2.resize(np.dstack(classes), (width, height), interpolation=cv2.INTER_LINEAR)
    hair, clothes = np.moveaxis(_steep(guided(large, pixels, radius, 0.03, SCALE)) * person[..., None], 2, 0)
    return hair, np.minimum(clothes, person - hair)


def _steep(share: Floats) -> Floats:
    """Pushes shares near 0 and 1 all the way."""
    return ((share - 0.15) / 0.7).clip(0, 1)


def plain_skin(landmarks: Floats, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) skin of the face without brows, eyes and lips.

    Args:
        landmarks: (478, 2) in pixels.
        size: width and height of the picture.
    """
    return _place(landmarks, size, None).plain


def _place(landmarks: Floats, size: tuple[int, int], middle: Floats | None) -> Place:
    import cv2

    width, height = size
    origin = landmarks[list(EYE_CORNERS)].mean(0)
    unit = float(np.linalg.norm(landmarks[CHIN] - landmarks[FOREHEAD])) + 1e-6
    across = landmarks[EYE_CORNERS[1]] - landmarks[EYE_CORNERS[0]]
    across = across / (np.linalg.norm(across) + 1e-6)
    gx, gy = np.meshgrid(np.arange(width) + 0.5 - origin[0], np.arange(height) + 0.5 - origin[1])
    x, y = gx * across[0] + gy * across[1], gy * across[0] - gx * across[1]

    if middle is not None:  # how far the head's axis lies beside the face's
        x = x - float((middle - origin) @ across)
    oval = np.zeros((height, width), np.uint8)
    cv2.fillPoly(oval, [landmarks[list(FACE_OVAL)].round().astype(np.int32)], 1)
    outward = cv2.distanceTransform(1 - oval, cv2.DIST_L2, 3) - cv2.distanceTransform(oval, cv2.DIST_L2, 3)
    marks = np.zeros_like(oval)
    for part in BROWS_EYES_LIPS:
        cv2.fillPoly(marks, [landmarks[list(part)].round().astype(np.int32)], 1)
    marks = cv2.dilate(marks, np.ones((3, 3), np.uint8))
    plain = (outward < -0.08 * unit) & (marks == 0) & (y > -0.1 * unit)
    x, y, outward = ((a / unit).astype(np.float32) for a in (x, y, outward))
    discs = []
    for patch in PATCHES:
        disc = np.zeros_like(oval)
        centre = landmarks[list(patch)].mean(0).round().astype(int)
        cv2.circle(disc, (int(centre[0]), int(centre[1])), max(2, int(0.05 * unit)), 1, -1)
        discs.append((disc > 0) & (marks == 0) & (outward < -INSIDE))  # what a head turns away lies at its outline
    return Place(x, y, outward, plain, marks > 0, discs)


def features_of(pixels: NDArray[np.uint8]) -> Floats:
    """(H, W, 4): CIE Lab and texture, the logarithm of the local contrast, in comparable units."""
    import cv2

    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    light = lab[..., 0]
    detail = light - cv2.GaussianBlur(light, (0, 0), 1.5)
    contrast = np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), 2.0))
    return np.dstack([0.6 * light, lab[..., 1], lab[..., 2], 5 * np.log(contrast + 0.3)]).astype(np.float32)


class ColourModel:
    """A mixture of Gaussians with hard assignments, over (N, D) features."""

    def __init__(self, samples: Floats, components: int, floor: float = 3.0) -> None:
        """Args: samples (N, D); components; floor: standard deviation that a component has at least."""
        import cv2

        cv2.setRNGSeed(0)
        components = max(1, min(components, len(samples) // 20))
        criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 12, 0.5)
        _, labels, _ = cv2.kmeans(samples, components, None, criteria, 1, cv2.KMEANS_PP_CENTERS)
        self.parts = []
        for k in range(components):
            part = samples[labels[:, 0] == k]
            if len(part) < 5:
                continue
            covariance = np.cov(part.T) + floor**2 * np.eye(part.shape[1])
            weight = np.log(len(part) / len(samples)) - 0.5 * np.linalg.slogdet(covariance)[1]
            root = np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32)
            self.parts.append((part.mean(0) @ root, root, np.float32(weight)))

    def log_likelihood(self, features: Floats) -> Floats:
        """(..., D) features to (...), up to the constant of the dimension; bounded below as an outlier's."""
        flat = np.ascontiguousarray(features.reshape(-1, features.shape[-1]).T)  # sums over a first axis are fast
        best = [weight - 0.5 * ((root.T @ flat - mean[:, None]) ** 2).sum(0) for mean, root, weight in self.parts]
        top = np.maximum(np.max(best, 0), np.float32(OUTLIER))  # log-sum-exp
        total = np.exp(OUTLIER - top) + sum(np.exp(likelihood - top) for likelihood in best)
        return (top + np.log(total)).reshape(features.shape[:-1])


def sampled(features: Floats, where: NDArray[np.bool_], most: int = 1500) -> Floats:
    """(N, D) features of at most about twice as many pixels of a mask, evenly."""
    picked = features[where]
    return np.ascontiguousarray(picked[:: max(1, len(picked) // most)])


def _classify(pixels: NDArray[np.uint8], person: Floats, place: Place) -> tuple[Floats, Floats]:
    """(H, W) float32 0..1: the shares of hair and of clothes, of the person's pixels."""
    from instaface.track.matte import guide_filter

    features = features_of(pixels)
    solid = person > 0.9
    if (place.plain & solid).sum() < 30:
        return np.zeros_like(person), _ramp(place.y, 0.8, 1.0) * person
    skinlike, usual, shine = _skinlike(features, place, solid)
    along, prior = guide_filter(pixels, 5, 0.03, SCALE), _prior(place)
    below = solid & (place.y > 0.8) & (skinlike < usual - STRANGE)

    # Hair is looked for in a shell around the face above the brows first; a shell that looks like skin is a bald head.
    shell = solid & (place.outside > 0.04) & (place.y < -0.15) & (np.abs(place.x) < 0.75)
    seeds = shell & (skinlike < usual) & ~shine
    if seeds.sum() < max(20, 0.15 * shell.sum()):
        clothlike = _clothlike(features, below, usual)
        evidence = np.stack([skinlike, np.full_like(person, OUTLIER), clothlike], 0) + prior
        return np.zeros_like(person), _smoothed(evidence, along)[2]
    # Then where it was found: what falls on the shoulders is often lighter than what is on top.
    for _ in range(ROUNDS):
        hairlike = ColourModel(sampled(features, seeds), 3).log_likelihood(features)
        # On the face itself only what is much like hair can be hair.
        hairlike[shine | ((place.outside < 0) & (hairlike < np.percentile(hairlike[seeds], 5)))] = OUTLIER
        clothlike = _clothlike(features, below & (hairlike < np.percentile(hairlike[seeds], 6)), usual)
        evidence = np.stack([skinlike, hairlike, clothlike], 0) + prior
        _, hair, clothes = _smoothed(evidence, along)
        hair = _attached(hair, person, place)
        found = solid & (hair > 0.8) & (skinlike < usual) & (place.outside > 0.02) & ~seeds
        if found.sum() < NEW * seeds.sum():
            break
        seeds |= found
    return hair, clothes


ROUNDS, NEW = 2, 0.1  # a second one only where so much more hair was found than was looked at


def _skinlike(features: Floats, place: Place, solid: NDArray[np.bool_]) -> tuple[Floats, float, NDArray[np.bool_]]:
    """(H, W) log-likelihood of skin, what is usual at least for skin, and (H, W) its highlights.

    It is learned from all of the face that is not strange to its surest patches: its sides and forehead may be covered
    by hair.
    """
    plain = place.plain & solid
    sure = _alike([features[patch & solid] for patch in place.patches])
    if sure is not None:
        alike = ColourModel(sure, 4).log_likelihood(features)
        same = plain & (alike > np.percentile(alike[plain], 50) - 2 * STRANGE)
        plain = same if same.sum() >= 30 else plain
    likelihood = ColourModel(sampled(features, plain), 3).log_likelihood(features)
    # As smooth as skin and brighter: no hair, though hardly skin either.
    shine = (features[..., 0] > np.percentile(features[plain][:, 0], 90)) & (
        features[..., 3] < np.percentile(features[plain][:, 3], 80)
    )
    shine &= (np.abs(place.x) < 0.5) & (place.y < 0)
    return likelihood, float(np.percentile(likelihood[plain], 10)), shine


ALIKE = 14.0  # distance of the features of two patches of skin next to each other


def _alike(patches: list[Floats]) -> Floats | None:
    """(N, D) features of the first patch, and of those that are like it or like one that is; None where it is empty."""
    medians = [np.median(patch, 0) if len(patch) else None for patch in patches]
    if medians[0] is None:
        return None
    kept, open_ = {0}, [0]
    while open_:
        here = medians[open_.pop()]
        for k, other in enumerate(medians):
            if k not in kept and other is not None and np.linalg.norm(other - here) < ALIKE:
                kept.add(k)
                open_.append(k)
    return np.ascontiguousarray(np.concatenate([patches[k] for k in sorted(kept)]))


def _clothlike(features: Floats, strange: NDArray[np.bool_], usual: float) -> Floats:
    """(H, W) log-likelihood of clothes: what is neither skin nor hair below the chin, whether or not its colours could
    be learned from what is ``strange`` there."""
    floor = np.full(strange.shape, max(OUTLIER, usual - STRANGE), np.float32)
    if strange.sum() < 30:
        return floor
    return np.maximum(floor, ColourModel(sampled(features, strange), 4).log_likelihood(features))


def _ramp(values: Floats, low: float, high: float) -> Floats:
    """0 below ``low``, 1 above ``high``."""
    return ((values - low) / (high - low)).clip(0, 1)


def _prior(place: Place) -> Floats:
    """(3, H, W) logarithms of how likely skin, hair and clothes are by place alone."""
    above = _ramp(-place.y, 0.1, 0.3)  # above the brows
    under = _ramp(place.y, 0.6, 0.75)  # below the chin
    out = _ramp(place.outside, -0.02, 0.05)
    aside = _ramp(np.abs(place.x), 0.3, 0.5)
    face = 1 - out
    # Inside the oval only the forehead can be covered, by a fringe; the sides of the oval a little, by strands.
    skin = 4.0 * face * (1 - above) * (1 - 0.6 * aside) + 2.0 * under * (1 - aside) - 1.0 * out * above
    skin += 6.0 * place.marks
    hair = 1.5 * out * above - 1.0 * face * above - 2.0 * under * (1 - aside) - 1.5 * _ramp(place.y, 0.9, 1.6)
    hair -= 6.0 * _ramp(np.abs(place.x), 0.9, 1.4)
    cloth = -12.0 * (1 - _ramp(place.y, 0.55, 0.8)) + 0.5 * under
    return np.stack([skin, hair, cloth], 0).astype(np.float32)


def _smoothed(evidence: Floats, along: Callable[[Floats], Floats], steps: int = 3) -> Floats:
    """(3, H, W) class probabilities that agree with their surroundings, by a filter along the picture's edges."""

    def normalised(scores: Floats) -> Floats:
        shares = np.exp(scores - scores.max(0))
        return shares / shares.sum(0)

    evidence = 0.5 * evidence  # neighbours are not independent
    shares = normalised(evidence)
    for _ in range(steps):
        around = np.moveaxis(along(np.moveaxis(shares, 0, 2).astype(np.float32)), 2, 0)
        shares = normalised(evidence + 4.0 * around)
    return shares


def _attached(share: Floats, person: Floats, place: Place) -> Floats:
    """Drops what is not connected to the hair around the head, such as dark clothes."""
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(((share > 0.5) & (person > 0.3)).astype(np.uint8))
    head = (place.outside > 0.02) & (place.y < 0.35) & (np.abs(place.x) < 0.9)
    counts = np.bincount(labels[head], minlength=len(stats))
    kept = counts > np.maximum(10, 0.05 * stats[:, cv2.CC_STAT_AREA])
    kept[0] = False
    near = cv2.dilate(kept[labels].astype(np.uint8), np.ones((5, 5), np.uint8))
    return share * near
