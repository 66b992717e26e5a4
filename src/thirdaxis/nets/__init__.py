"""Network graphs: every one is written once, in 2D, and becomes 3D through conversion."""
