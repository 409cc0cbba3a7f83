"""The mouth's inside, moved to where photos show it.

In the source the jaw opens with the upper lip drawn over the teeth, and the tongue fills what opens. Portraits show an
even band of upper teeth, dark above a tongue that lies low; and of smiles, the upper teeth down to the lower lip.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from openhead.regions import smoothstep

# Centimetres by which teeth and gums come down in front, and by how much more at the sides.
UPPER_DROP, LOWER_DROP = (0.38, 0.2), (0.1, 0.7)
GUMS_LAG = 0.2  # centimetres by which the upper gums come down less
SIDES = 0.4, 2.0  # centimetres from the middle between which the front becomes the side
TONGUE_ROOT, TONGUE_HEIGHT = -4.9, 0.6  # height under which the tongue stays, and the share that remains above
WIDER = 1.12  # of each tooth along the row, so that neighbours touch


def seat(
    mean: NDArray, jaw_open: NDArray, triangles: NDArray, symmetry: NDArray, masks: dict[str, NDArray[np.bool_]]
) -> NDArray:
    """(V, 3) the mean face with teeth, gums and tongue in their places.

    Args:
        mean: (V, 3) centimetres.
        jaw_open: (V, 3) offsets of ``jawOpen``, which tell the lower row.
        triangles: (F, 3).
        symmetry: (V,) the vertex on the other side.
        masks: (V,) regions by name.
    """
    out = mean.copy()
    lower, side = np.abs(jaw_open).max(1) > 0.05, smoothstep(*SIDES, np.abs(mean[:, 0]))
    tongue = masks["tongue"] | masks["tongue"][symmetry]
    rows = (masks["teeth"] | masks["gums"]) & ~tongue
    for row, (front, more) in ((rows & ~lower, UPPER_DROP), (rows & lower, LOWER_DROP)):
        out[row, 1] -= front + more * side[row]
    out[rows & masks["gums"] & ~lower, 1] += GUMS_LAG
    out[tongue, 1] = TONGUE_ROOT + TONGUE_HEIGHT * (mean[tongue, 1] - TONGUE_ROOT)
    for tooth in pieces(triangles, masks["teeth"]):
        middle = out[tooth].mean(0)
        along = np.array([middle[2] - BACK, 0, -middle[0]])  # the row is about a circle seen from above
        along /= np.linalg.norm(along)
        out[tooth] += (WIDER - 1) * ((out[tooth] - middle) @ along)[:, None] * along
    return out


BACK = 7.0  # z of the middle of the circle that the front of a row of teeth lies on


def pieces(triangles: NDArray, member: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Vertices of each connected piece of a part of the mesh."""
    own = triangles[member[triangles].all(1)]
    edges = np.concatenate([own[:, [0, 1]], own[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(member),) * 2)
    _, label = connected_components(graph, directed=False)
    return [np.flatnonzero(label == k) for k in np.unique(label[own])]
