"""Trained models as files: folders, zips, bundles, the hub."""
