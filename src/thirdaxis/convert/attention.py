"""Which networks keep depth unless told otherwise: those that compare whole pictures at once."""

import re
from collections.abc import Iterator

from torch import nn

from thirdaxis.axes import pair

LARGE_PATCH = 7

# Projections as attention layers name them: one for all three, or one of queries and one of keys.
_BEFORE = r"(?:(?:to|w|c|in|conv(?:olution)?|lin(?:ear)?|proj(?:ection)?|fc|attn|self)_?)*"
_AFTER = r"(?:_?(?:proj(?:ection)?|conv|lin(?:ear)?|layer|embed|map|s))?_?\d*"
_FUSED = re.compile(rf"{_BEFORE}(?:qkv|kqv|qk|query_key_value|c_attn){_AFTER}", re.IGNORECASE)
_QUERY = re.compile(rf"{_BEFORE}(?:q|query|queries){_AFTER}", re.IGNORECASE)
_KEY = re.compile(rf"{_BEFORE}(?:kv?|keys?|key_?value){_AFTER}", re.IGNORECASE)
_TOKENS = re.compile(r"(?:mlp|linear|mix\w*|ff)_?tokens?|tokens?_?(?:mlp|linear|mixing)|sgu")
_HEADS = ("num_heads", "n_heads", "n_head", "nheads", "heads", "num_attention_heads")
_STATES = ("d_state", "state_dim")  # of state-space layers, which scan all positions
_LAYERS = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def why_depth_is_kept(net: nn.Module) -> str:
    """What makes a network one of attention, of mixing, or of large patches; else nothing.

    Such a network relates all positions of a picture, or cuts it into patches in one step, and does
    not build a pyramid that depth could follow. Squeeze-and-excitation, channel and spatial
    attention maps and the attention gates of U-Nets weigh features, but relate no positions: their
    networks are convolutional and are not meant.

    Args:
        net: a 2D network. Its modules are looked at, and nothing is run.

    Returns:
        A few words for a report, such as ``"attention in blocks.0.attn"``, or ``""``.
    """
    for name, module in net.named_modules():
        if _attends(module):
            return f"attention in {name or type(module).__name__}"
        if any(_TOKENS.fullmatch(part.lower()) for part, _ in module.named_children()):
            return f"token mixing in {name or type(module).__name__}"
        if any(isinstance(vars(module).get(part), int) for part in _STATES):
            return f"a state space in {name or type(module).__name__}"
    first = next(_convolutions(net), None)
    if first is not None:
        name, conv = first
        kernel, stride = pair(conv.kernel_size), pair(conv.stride)
        if kernel == stride and min(kernel) >= LARGE_PATCH:
            return f"{name} cuts patches of {kernel[0]} x {kernel[1]}"
    return ""


def _attends(module: nn.Module) -> bool:
    """Whether a module is an attention layer: by type, number of heads, or projections' names."""
    if isinstance(module, _LAYERS) or "in_proj_weight" in module._parameters:
        return True
    if any(isinstance(vars(module).get(name), int) for name in _HEADS):
        return True
    parts = [name for name, _ in module.named_children()]
    if any(_FUSED.fullmatch(part) for part in parts):
        return True
    return any(_QUERY.fullmatch(p) for p in parts) and any(_KEY.fullmatch(p) for p in parts)


def _convolutions(net: nn.Module) -> Iterator[tuple[str, nn.Conv2d]]:
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            yield name, module
