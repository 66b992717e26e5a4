"""Finished runs beside each other: groups, means, tests, and a picture."""
