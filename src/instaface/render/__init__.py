"""Rasteriser and maps."""

from instaface.render.maps import Maps, encode, render_maps
from instaface.render.rasterise import Raster, coverage, extend, interpolate, rasterise, visible

__all__ = ["Maps", "Raster", "coverage", "encode", "extend", "interpolate", "rasterise", "render_maps", "visible"]
