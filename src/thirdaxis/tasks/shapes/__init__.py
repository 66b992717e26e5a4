"""Synthetic shapes: the quick start and the proof of concept."""
