"""The universal lesion detector, and the one of SVD-Net."""
