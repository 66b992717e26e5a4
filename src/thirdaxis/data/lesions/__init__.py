"""Lesions marked on single slices: readers, outlines, detections."""
