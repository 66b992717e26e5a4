"""Rules for calls that mean the same with a depth axis in front: pointwise, matrices, questions."""

from types import GetSetDescriptorType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from thirdaxis.convert.carrier import (
    RULES,
    Hidden,
    first_hidden,
    hidden_in,
    hide,
    hide_like,
    layer,
    rule,
)
from thirdaxis.convert.slices import failure, slice_by_slice

UNARY = """
    abs absolute acos acosh alpha_dropout angle arccos arccosh arcsin arcsinh arctan arctanh
    asin asinh atan atanh bernoulli bfloat16 bitwise_not bool byte ceil celu char clone conj cos
    cosh cpu cuda deg2rad detach digamma double dropout elu erf erfc erfinv exp exp2 expm1 fix
    float floor frac gelu half hardshrink hardsigmoid hardswish hardtanh i0 imag int isfinite
    isinf isnan isneginf isposinf leaky_relu lgamma log log10 log1p log2 logical_not logit
    logsigmoid long mish nan_to_num neg negative positive pow rad2deg rand_like randn_like real
    reciprocal relu relu6 rrelu round rsqrt selu sgn short sigmoid sign signbit silu sin sinc
    sinh softplus softshrink softsign sqrt square tan tanh tanhshrink threshold to trunc type
    empty_like ones_like zeros_like full_like zero_ fill_ normal_ uniform_ bernoulli_
    requires_grad_ refine_names feature_alpha_dropout layer_norm rms_norm linear clamp clamp_min
    clamp_max clip
"""

BROADCAST = """
    add addcdiv addcmul atan2 arctan2 bitwise_and bitwise_or bitwise_xor copysign div divide eq
    equal float_power floor_divide fmax fmin fmod ge greater greater_equal gt heaviside hypot
    isclose ldexp le lerp less less_equal logaddexp logaddexp2 logical_and logical_or
    logical_xor lt masked_fill maximum minimum mul multiply ne nextafter not_equal polar prelu
    remainder rsub sub subtract true_divide type_as where xlogy copy_
    binary_cross_entropy_with_logits __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__
    __rmul__ __imul__ __truediv__ __rtruediv__ __itruediv__ __floordiv__ __rfloordiv__ __mod__
    __rmod__ __pow__ __rpow__ __ipow__ __neg__ __pos__ __abs__ __invert__ __and__ __rand__
    __iand__ __or__ __ror__ __ior__ __xor__ __rxor__ __lt__ __le__ __gt__ __ge__ __eq__ __ne__
"""

HANDED_THROUGH = """
    backward data_ptr element_size get_device has_names is_complex is_conj is_floating_point
    is_inference is_neg is_pinned is_same_size is_set_to is_shared is_signed register_hook
    register_post_accumulate_grad_hook retain_grad storage_offset untyped_storage __hash__
    __repr__ __format__ __reduce_ex__ __deepcopy__ __array__ __dir__ __bool__ __float__ __int__
    item tolist numpy result_type
"""


def named(names: str) -> set[Any]:
    """Every public function and method of these names, in place or not."""
    found = set()
    for name in names.split():
        for namespace in (torch, torch.Tensor, F, torch.special):
            for variant in (name, name + "_"):
                function = getattr(namespace, variant, None)
                if callable(function):
                    found.add(function)
    return found


@rule(*named(UNARY))
def unchanged(func, args, kwargs):
    """One tensor in, one of the same shape out (or only its last dimension used)."""
    return hide_like(func(*args, **kwargs), first_hidden(args, kwargs))


@layer(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish)
@layer(nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish)
def activation(module, x):
    """An activation, which does not notice that there is one axis more."""
    return hide_like(type(module).forward(module, x), x)


@rule(*named(HANDED_THROUGH), torch.autograd.backward, torch.autograd.grad)
def handed_through(func, args, kwargs):
    """Questions to a tensor whose answer has no dimensions."""
    return func(*args, **kwargs)


@rule(*named(BROADCAST))
def broadcast(func, args, kwargs):
    """Several tensors broadcast together: aligned so that depth stays in front of them all."""
    source = first_hidden(args, kwargs)
    args = aligned(args)
    try:
        return hide_like(func(*args, **kwargs), source)
    except RuntimeError as error:
        inputs = list(hidden_in((args, kwargs)))
        if all(x.shape[0] == inputs[0].shape[0] for x in inputs):
            raise  # the program's own fault, or the machine's
        raise failure(func, inputs, error) from error


def aligned(values: tuple) -> tuple:
    """Gives every carrier as many visible dimensions as the operand that has most."""
    if {type(value) for value in values} == {Hidden} and len({v.dim() for v in values}) == 1:
        return values
    ranks = [v.dim() - isinstance(v, Hidden) for v in values if isinstance(v, torch.Tensor)]
    rank = max(ranks)
    if min(ranks) == rank:
        return values
    return tuple(spread(v, rank) if isinstance(v, Hidden) else v for v in values)


def spread(x: torch.Tensor, rank: int) -> torch.Tensor:
    """Inserts dimensions behind depth until ``rank`` are visible."""
    missing = rank + 1 - x.dim()
    return x[(slice(None),) + (None,) * missing] if missing > 0 else x


@rule(torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.Tensor.__rmatmul__)
@rule(torch.bmm, torch.Tensor.bmm, torch.mm, torch.Tensor.mm)
def matmul(func, args, kwargs):
    """Matrix products of every slice."""
    left, right = args[:2]
    if func is torch.Tensor.__rmatmul__:
        left, right = right, left
    if min(m.dim() - isinstance(m, Hidden) for m in (left, right)) < 2 or len(args) > 2 or kwargs:
        return slice_by_slice(func, args, kwargs)
    left, right = aligned((left, right))
    return hide_like(torch.matmul(left, right), first_hidden(args, kwargs))


@rule(F.scaled_dot_product_attention)
def attention(func, args, kwargs):
    """Attention within every slice."""
    masks = [m for m in (*args[3:4], kwargs.get("attn_mask")) if isinstance(m, torch.Tensor)]
    tensors = [*args[:3], *masks]
    if not all(isinstance(t, Hidden) and t.dim() == args[0].dim() for t in tensors):
        return slice_by_slice(func, args, kwargs)
    return hide_like(func(*args, **kwargs), args[0])


def attribute(func, args, kwargs):
    """Attributes without dimensions (dtype, device, requires_grad, ...) and same-shaped ones."""
    result, x = func(*args, **kwargs), args[0]
    if isinstance(result, Hidden) or not isinstance(result, torch.Tensor):
        return result
    return hide(result, x.setting, x.call)


for _attribute in (getattr(torch.Tensor, _name) for _name in dir(torch.Tensor)):
    if isinstance(_attribute, property | GetSetDescriptorType):
        RULES[_attribute.__get__] = attribute
        RULES[_attribute.__set__] = handed_through
