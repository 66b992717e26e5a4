"""FROC curves and tables, of boxes on images and of points in volumes alike."""
