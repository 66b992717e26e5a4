"""Photographs with a class each, in folders or in shards: found, decoded, varied."""
