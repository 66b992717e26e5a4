"""Conversion: any 2D network runs on volumes by a tensor that hides its depth axis. Torch only."""

from thirdaxis.convert import (
    rules_attention,
    rules_conv,
    rules_norm,
    rules_pointwise,
    rules_pool,
    rules_resize,
    rules_sequence,
    rules_shape,
)

__all__ = [
    "rules_attention",
    "rules_conv",
    "rules_norm",
    "rules_pointwise",
    "rules_pool",
    "rules_resize",
    "rules_sequence",
    "rules_shape",
]
