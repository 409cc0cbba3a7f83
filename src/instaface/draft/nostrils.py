"""The nostrils: dark holes, of whose walls photos show next to nothing."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from instaface.draft.fill import smoothstep
from instaface.face import MorphableModel
from instaface.render.occlusion import evenly, reached

Array = NDArray[np.float32]

DIRECTIONS = 24  # from which light may fall in, evenly over the sphere
SHUT = 0.3, 0.6  # share of them that the nose itself shuts out, from outside of the nostrils to deep inside
SIDE = 48  # pixels of the depth maps of the nose that tell what a direction reaches
WALL = 0.05  # centimetres by which a point may lie behind the surface that a depth map shows


@functools.lru_cache(maxsize=2)
def nostrils(model: MorphableModel) -> Array:
    """(V,) float32: 1 deep inside of the nostrils, 0 outside of them."""
    deep = np.zeros(len(model.head_weight), np.float32)
    if "nose" not in model.regions:
        return deep
    nose = np.asarray(model.regions["nose"])
    index = np.full(len(deep), -1, np.int32)
    index[nose] = np.arange(len(nose))
    faces = index[np.asarray(model.faces)]
    faces = faces[(faces >= 0).all(1)]
    mesh = model.mesh(model.neutral())
    points, normals = np.asarray(mesh.vertices[0])[nose], np.asarray(mesh.normals()[0])[nose]
    towards = evenly(DIRECTIONS)
    light = np.maximum(normals @ towards.T, 0)
    shut = np.stack([~reached(points, faces, direction, SIDE, WALL) for direction in towards], -1)
    deep[nose] = smoothstep((light * shut).sum(-1) / light.sum(-1), *SHUT)
    return deep
