"""What a diffusion model is asked for, apart from it: its process is to load no more than it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Conditions:
    """What a model takes for one edit, over a canvas of H x W pixels.

    Attributes:
        maps: name to (3, H, W) float32 in -1..1: normals, albedo, rendering, appearance, coverage.
        source: (3, H, W) float32 in -1..1, the photo as it was.
        draft: (3, H, W) float32 in -1..1.
        region: (1, H, W) float32 0..1, how far the networks may change the draft: as of
            :func:`instaface.draft.reworked`; 0 where the photo's own pixels stay, in eyes and lips, which say who it
            is, and in the mouth, of which portraits show little more than a row of teeth.
    """

    maps: dict[str, NDArray[np.float32]]
    source: NDArray[np.float32]
    draft: NDArray[np.float32]
    region: NDArray[np.float32]


class Corrects(Protocol):
    """A :class:`~instaface.diffusion.corrector.Corrector`, here or in another process."""

    @property
    def size(self) -> int: ...

    @property
    def convention(self) -> str: ...

    def __call__(
        self, given: Conditions, photo: NDArray[np.uint8], landmarks: NDArray[np.floating], seed: int
    ) -> NDArray[np.float32]: ...
