"""Pairs made in advance: making them costs more than a small network does, so they are made once and read often."""

from __future__ import annotations

import io
import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from instaface.training.config import TrainingConfig
from instaface.training.pair_source import Pairs, augment
from instaface.training.prepare import LeftOut, Packed, run_in_shards
from instaface.training.shards import Shards, read_files, write_index

PICTURES = ("photo", "draft", "appearance", "source")
MAPS = ("normals", "albedo", "rendering")
MASKS = ("region", "weight")
QUALITY = 92


def make_samples(
    data: Path,
    config: TrainingConfig,
    output: Path,
    per_face: int,
    shard_size: int = 200,
    jobs: int = 0,
    split: str | None = None,
) -> int:
    """Makes pairs of the faces of a dataset, in parallel; a run that was stopped goes on.

    Args:
        data: a dataset.
        config: model and kinds of pairs.
        output: folder of the samples.
        per_face: pairs of each face.
        shard_size: faces in one shard.
        jobs: processes, 0 for all cores.
        split: ``training`` or ``validation``; None for all faces.

    Returns:
        Number of samples.

    Raises:
        InstaFaceError: no dataset, or no face in the split.
    """
    shards = Shards(data)
    numbers = list(range(len(shards))) if split is None else shards.numbers(split)
    run_in_shards(numbers, partial(_make, data, config, per_face), output, shard_size, jobs)
    return write_index(output)


def _make(data: Path, config: TrainingConfig, per_face: int, number: int) -> Packed | LeftOut:
    pairs = _pairs(data, config.model_dump_json())
    row = pairs.shards.rows[number]
    packed = []
    for k in range(per_face):
        sample = pairs.make(number, np.random.default_rng((number, k)), None)
        packed.append((f"{row['key']}~{k}", pack_sample(sample, row["labels"])))
    return packed


@cache
def _pairs(data: Path, config: str) -> Pairs:
    options = TrainingConfig.model_validate_json(config)
    shards, model = Shards(data), options.model
    numbers = list(range(len(shards)))
    kinds = options.data.model_copy(update={"device_maps": False})
    return Pairs(shards, numbers, kinds, model.size, model.recogniser, model.convention)


def pack_sample(sample: dict[str, Any], labels: dict[str, str]) -> dict[str, bytes]:
    """A sample as files: JPEG pictures, masks and coverage as PNG, face embedding and which maps are given."""
    pictures = {name: sample[name] for name in PICTURES if name in sample} | sample["maps"]
    files = {f"{name}.jpg": _encode(".jpg", value) for name, value in pictures.items() if name != "coverage"}
    files["coverage.png"] = _encode(".png", sample["maps"]["coverage"])
    for name in MASKS:
        files[f"{name}.png"] = _encode(".png", sample[name].expand(3, -1, -1) * 2 - 1)
    buffer = io.BytesIO()
    np.save(buffer, sample["face"].numpy())
    files["npy"] = buffer.getvalue()
    given = {name: float(value) for name, value in sample["given"].items()}
    files["json"] = json.dumps({"labels": labels, "given": given}).encode()
    return files


def unpack_sample(files: dict[str, bytes]) -> dict[str, Any]:
    """Inverse of :func:`pack_sample`, but for what JPEG and 8 bits lose."""
    pictures = {name.removesuffix(".jpg"): _decode(data) for name, data in files.items() if name.endswith(".jpg")}
    masks = {name: (_decode(files[f"{name}.png"])[:1] + 1) / 2 for name in MASKS}
    maps = {name: pictures[name] for name in (*MAPS, "appearance")}
    maps["coverage"] = _decode(files["coverage.png"])
    given = json.loads(files["json"])["given"]
    return {
        "photo": pictures["photo"],
        "maps": maps,
        "given": {name: torch.tensor(given[name]) for name in maps},
        "draft": pictures["draft"],
        **masks,
        "source": pictures["source"],
        "face": torch.from_numpy(np.load(io.BytesIO(files["npy"]))),
    }


class Samples:
    """Samples made in advance; only the source is augmented anew at each draw.

    Args:
        folder: from :func:`make_samples`.
        rows: which of the index's rows.
        weights: how often each is drawn.
        mirrored: share that is drawn as in a mirror.
    """

    def __init__(self, folder: Path, rows: list[dict], weights: np.ndarray, mirrored: float = 0.0) -> None:
        self.folder, self.rows, self.weights, self.mirrored = folder, rows, weights, mirrored

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, index: int, random: np.random.Generator) -> dict[str, Any]:
        """See :class:`instaface.training.stages.DiffusionStage` for what is in it."""
        sample = self.plain(index, random.random() < self.mirrored)
        return {**sample, "source": augment(sample["source"][None], random)[0]}

    def plain(self, index: int, in_mirror: bool = False) -> dict[str, Any]:
        """A sample with the source as it is."""
        sample = unpack_sample(read_files(self.folder, self.rows[index]))
        return mirrored_sample(sample) if in_mirror else sample


def mirrored_sample(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample as in a mirror: normals point to the other side, the embedding stays the person's."""
    flipped = {name: sample[name].flip(-1) for name in (*MASKS, "photo", "draft", "source")}
    maps = {name: value.flip(-1) for name, value in sample["maps"].items()}
    maps["normals"] = maps["normals"] * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
    return {**sample, **flipped, "maps": maps}


def pixels_of(picture: Tensor) -> np.ndarray:
    """(C, H, W) in -1..1 to (H, W, C) uint8."""
    return ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def _encode(kind: str, picture: Tensor) -> bytes:
    pixels = pixels_of(picture)
    # Colour at full resolution: in normals it says as much as brightness does.
    full = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *full] if kind == ".jpg" else []
    return cv2.imencode(kind, np.ascontiguousarray(pixels[..., ::-1]), options)[1].tobytes()


def _decode(data: bytes) -> Tensor:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 127.5 - 1
