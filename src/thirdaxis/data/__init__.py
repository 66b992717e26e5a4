"""Files: one reader a format or data set, and the grids, folders and intensities of volumes."""
