"""Pretraining on photographs with boxes, as SVD-Net does it on MS-COCO."""
