"""Fusion operators: how a 2D convolution looks along the third axis. Torch only."""
