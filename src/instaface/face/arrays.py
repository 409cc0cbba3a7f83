"""Arrays of either kind: NumPy's, and PyTorch's tensors for gradients and GPUs.

The two share the names and the meaning of what the formulas of faces, cameras and light need, so that each formula
stands once. PyTorch is imported only where tensors come in: that takes longer than an edit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or torch.Tensor


def namespace(array: Array) -> Any:
    """The module, ``numpy`` or ``torch``, whose functions take an array."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def like(array: Any, other: Array) -> Array:
    """An array or numbers as an array of the kind of ``other``, on its device; memory is shared where it can be."""
    if isinstance(other, np.ndarray):
        return np.asarray(array)
    import torch

    return torch.as_tensor(array, device=other.device)


def unit(vectors: Array) -> Array:
    """(..., 3) vectors of length 1; those of no length stay so."""
    squared = (vectors * vectors).sum(-1).clip(1e-24)
    return vectors / namespace(vectors).sqrt(squared)[..., None]
