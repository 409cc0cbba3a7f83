"""Hands before a face, with what they hold.

MediaPipe's hand landmarker (Zhang et al. 2020, MediaPipe Hands: On-device Real-time Hand Tracking) says where hands
are. It sometimes takes a smile for one, so a hand counts only if the mirrored picture shows the same one. Its bones,
as thick as fingers are, start a segmentation by GrabCut (Rother et al. 2004) that finds the hand's outline, and what
near it looks neither like the face's skin nor like hair: what it holds.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from instaface.track import graphs
from instaface.track.tracked import Matte

Floats = NDArray[np.float32]

FINGERS = (1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20)  # landmarks, tips last
PALM = (0, 1, 5, 9, 13, 17)  # landmarks, the wrist first
BONES = (*((f[k], f[k + 1]) for f in FINGERS for k in range(3)), *zip(PALM, (*PALM[1:], PALM[0]), strict=True))
SEARCHED = 256  # pixels: longer side of the picture in which hands are looked for
AROUND = (
    0.6  # of it: room around the picture, without which hands at its border are missed and smiles are taken for one
)
SAME = 0.35  # of a hand's size: how far its centre may lie from where the mirrored picture has it
SIZE = 288  # pixels: longest side at which hands are cut out
FINGER = 0.5, 1.0, 1.9  # of a finger's thickness: for certain hand, likely hand, and not beyond
HELD = 2.0  # fingers' thicknesses from a hand: how far what it holds may reach
STRANGE = 8.0  # log-likelihood below what is usual for skin from which near a hand a colour is not the face's
ENOUGH = 60  # pixels of skin that tell its colours


def find_hands(pixels: NDArray[np.uint8]) -> list[Floats]:
    """The hands in a picture.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        (21, 2) landmarks of each hand in pixels, as MediaPipe orders them: wrist, thumb, ..., little finger.
    """
    found = _look(pixels)
    if not found:
        return []
    mirrored = [np.stack([pixels.shape[1] - x, y], -1) for x, y in (hand.T for hand in _look(pixels[:, ::-1]))]
    hands = []
    for hand in found:
        reach = SAME * float(np.ptp(hand, axis=0).max())
        same = [other for other in mirrored if np.linalg.norm(hand.mean(0) - other.mean(0)) < reach]
        if same:
            hands.append(((hand + same[0]) / 2).astype(np.float32))
    return hands


def _look(pixels: NDArray[np.uint8]) -> list[Floats]:
    """(21, 2) landmarks of each hand that the network believes in, in pixels."""
    import cv2

    scale = SEARCHED / max(pixels.shape[:2])
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    room = round(AROUND * SEARCHED)
    wide = cv2.copyMakeBorder(small, room, room, room, room, cv2.BORDER_REPLICATE)
    return [(hand * wide.shape[1::-1] - room) / scale for hand in graphs.hands(wide)]


def cut_out(pixels: NDArray[np.uint8], hands: list[Floats], matte: Matte, skin: NDArray[np.bool_]) -> Floats:
    """Hands with what they hold.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        hands: (21, 2) landmarks of each.
        matte: of the same picture.
        skin: (H, W) plain skin of the face, as :func:`instaface.track.hair.plain_skin` finds it.

    Returns:
        (H, W) float32 0..1, opacity.
    """
    import cv2

    from instaface.track.matte import guided

    height, width = pixels.shape[:2]
    scale = min(1.0, SIZE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    hair, plain = (cv2.resize(m.astype(np.float32), size, interpolation=cv2.INTER_AREA) for m in (matte.hair, skin))
    state = np.full(size[::-1], cv2.GC_BGD, np.uint8)
    core, likely, reach, near = (np.zeros(size[::-1], np.uint8) for _ in range(4))
    for hand in hands:
        thick = _thickness(hand * scale)
        for mask, share in zip((core, likely, reach), FINGER, strict=True):
            _draw(mask, hand * scale, max(1, round(share * thick)))
        _draw(near, hand * scale, round((1 + 2 * HELD) * thick))
    held = _strange(small, (plain > 0.99) & (near == 0)) & (near > 0) & (hair < 0.5)
    state[(reach > 0) | (near > 0)] = cv2.GC_PR_BGD
    state[(likely > 0) | held] = cv2.GC_PR_FGD
    state[core > 0] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    cv2.grabCut(small, state, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    found = _joined((state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD), core > 0)
    large = cv2.resize(found.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    smooth = guided(large, pixels, max(2, round(0.008 * max(height, width))), 0.03)
    return ((smooth - 0.15) / 0.7).clip(0, 1).astype(np.float32)


def _thickness(hand: Floats) -> float:
    """Of the hand's fingers, in pixels."""
    bones = [float(np.linalg.norm(hand[a] - hand[b])) for finger in FINGERS for a, b in itertools.pairwise(finger)]
    return max(float(np.linalg.norm(hand[5] - hand[17])) / 3, 0.5 * float(np.median(bones)), 1.0)


def _draw(mask: NDArray[np.uint8], hand: Floats, thickness: int) -> None:
    """Sets a hand's palm and bones to 1."""
    import cv2

    points = np.rint(hand).astype(np.int32)
    cv2.fillConvexPoly(mask, cv2.convexHull(points[list(PALM)]), 1)
    for a, b in BONES:
        cv2.line(mask, points[a].tolist(), points[b].tolist(), 1, thickness)


def _strange(pixels: NDArray[np.uint8], skin: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) whether a colour is unlike the skin's."""
    from instaface.track.hair import ColourModel, features_of, sampled

    if skin.sum() < ENOUGH:
        return np.zeros(skin.shape, bool)
    lab = features_of(pixels)[..., :3]
    likelihood = ColourModel(sampled(lab, skin), 3).log_likelihood(lab)
    return likelihood < np.median(likelihood[skin]) - STRANGE


def _joined(mask: NDArray[np.bool_], core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pieces of ``mask`` that hang together with ``core``, without holes as small as a ring."""
    import cv2

    _, labels = cv2.connectedComponents(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3))))
    kept = np.zeros(labels.max() + 1, bool)
    kept[labels[core]] = True
    kept[0] = False
    return kept[labels]
