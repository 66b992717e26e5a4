"""Classes and grades of volumes: settings, training, prediction, scores."""
