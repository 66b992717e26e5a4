"""DICOM: series of images in, segmentation objects out."""
