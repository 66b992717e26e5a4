"""Pretraining by telling what a photograph shows."""
