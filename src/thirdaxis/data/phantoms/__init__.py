"""Lesion phantoms in the layout of DeepLesion."""
