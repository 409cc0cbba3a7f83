"""Which sample comes when: the k-th draw of a run is a pure function of the run's seed and k.

So a resumed run goes on with the numbers of the straight one, and two processes see together what one would alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

Sample = dict[str, Any]  # tensors, or dictionaries of tensors


class Source(Protocol):
    """Something that samples can be drawn from."""

    def __len__(self) -> int:
        """Number of things to choose from."""

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """One sample made of thing ``index``; all that is random about it comes from ``random``."""


class Draws(Dataset):
    """Draws from a source as a map-style dataset.

    Args:
        source: what is drawn from.
        seed: of the run.
        weights: (len(source),) how often each thing is drawn, up to a factor; None for equally often.
    """

    def __init__(self, source: Source, seed: int, weights: np.ndarray | None = None) -> None:
        self.source, self.seed = source, seed
        w = np.ones(len(source)) if weights is None else np.asarray(weights, float)
        if len(w) == 0 or w.min() < 0 or w.sum() <= 0:
            raise ValueError("nothing to draw from: the source is empty or all weights are zero")
        self._cumulative = np.cumsum(w) / w.sum()

    def __getitem__(self, draw: int) -> Sample:
        random = np.random.default_rng((self.seed, draw))
        index = int(np.searchsorted(self._cumulative, random.random(), side="right"))
        sample = self.source.sample(min(index, len(self._cumulative) - 1), random)
        return {**sample, "draw": torch.tensor(draw)}


class DrawBatches:
    """Numbers of the draws that one of several processes works on.

    Args:
        start: first update that is made (0, or where a resumed run goes on).
        end: the update before which it ends.
        batch: draws of one update over all processes.
        micro_batch: draws that a process takes at once.
        process: number of this process.
        processes: how many there are.
    """

    def __init__(
        self, start: int, end: int, batch: int, micro_batch: int, process: int = 0, processes: int = 1
    ) -> None:
        if batch % (micro_batch * processes):
            raise ValueError(f"batch {batch} must be a multiple of {micro_batch} x {processes} processes")
        self.start, self.end, self.batch, self.micro_batch = start, end, batch, micro_batch
        self.process, self.processes = process, processes

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.end):
            for first in range(0, self.batch, self.micro_batch * self.processes):
                begin = step * self.batch + first + self.process * self.micro_batch
                yield list(range(begin, begin + self.micro_batch))

    def __len__(self) -> int:
        return max(0, self.end - self.start) * (self.batch // (self.micro_batch * self.processes))


def loader(draws: Draws, batches: DrawBatches, workers: int) -> DataLoader:
    """Batches of draws, prepared by ``workers`` processes."""
    return DataLoader(
        draws,
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def fixed_batch(source: Source, count: int) -> Sample:
    """One sample of each of ``count`` things, spread over the source: always the same."""
    places = np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(int)
    samples = [source.sample(int(k), np.random.default_rng(int(k))) | {"draw": torch.tensor(int(k))} for k in places]
    return default_collate(samples)


def noise_for(draws: Tensor, seed: int) -> list[torch.Generator]:
    """A generator for each draw, so that its noise does not depend on the batch that it is in."""
    return [torch.Generator().manual_seed(seed * 2**40 + int(draw)) for draw in draws]
