"""Recognisers of faces."""
