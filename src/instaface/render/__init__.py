"""Rasteriser and maps."""
