"""Rasteriser and maps."""

from instaface.render.maps import Maps, encode, region_mask, render_maps, seen_region
from instaface.render.rasterise import Raster, coverage, extend, interpolate, pick, rasterise, visible

__all__ = [
    "Maps",
    "Raster",
    "coverage",
    "encode",
    "extend",
    "interpolate",
    "pick",
    "rasterise",
    "region_mask",
    "render_maps",
    "seen_region",
    "visible",
]
