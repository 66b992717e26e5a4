"""Supervised pretraining on photographs: what its tasks share, and a room for each of them."""
