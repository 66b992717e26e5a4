"""Training: what knows an optimiser or a trainer."""
