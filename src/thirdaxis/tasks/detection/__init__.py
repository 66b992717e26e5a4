"""Lesions marked by boxes: settings, training, use on whole scans, scores."""
