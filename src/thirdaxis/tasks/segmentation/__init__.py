"""Label maps of volumes: settings, training, prediction, scores."""
