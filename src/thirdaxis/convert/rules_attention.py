"""Rules for attention layers: positions attend to each other within their own slice."""

import inspect

import torch.nn.functional as F

from thirdaxis.convert.carrier import Hidden, hide_like, rule
from thirdaxis.convert.rules_conv import arguments
from thirdaxis.convert.slices import slice_by_slice

_NAMES = " ".join(inspect.signature(F.multi_head_attention_forward).parameters)
_FOLDED = ("query", "key", "value")
_UNUSUAL = ("attn_mask", "key_padding_mask", "static_k", "static_v")


@rule(F.multi_head_attention_forward)
def multi_head_attention(func, args, kwargs):
    """``nn.MultiheadAttention``: every slice is one more sample."""
    given = arguments(args, kwargs, _NAMES)
    inputs = [given[name] for name in _FOLDED]
    same = all(isinstance(x, Hidden) and x.dim() == 4 for x in inputs)
    if not same or any(given.get(name) is not None for name in _UNUSUAL):
        return slice_by_slice(func, args, kwargs)
    query = inputs[0]
    depth, _, samples, _ = query.shape
    folded = {id(x): x.movedim(0, 1).flatten(1, 2) for x in inputs}
    answer, weights = func(**(given | {n: folded[id(given[n])] for n in _FOLDED}))
    answer = answer.unflatten(1, (depth, samples)).movedim(1, 0)
    if weights is not None:
        weights = weights.unflatten(0, (depth, samples))
    return hide_like((answer, weights), query)
