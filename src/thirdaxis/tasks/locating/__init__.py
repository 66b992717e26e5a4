"""Lesions located by heat maps: a network learns a Gaussian at each, peaks are what it finds."""
