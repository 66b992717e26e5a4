"""Rules for recurrent layers: every slice is one more sequence of the batch."""

import torch

from thirdaxis.convert.carrier import Hidden, first_hidden, hide_like, rule
from thirdaxis.convert.slices import slice_by_slice


@rule(torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)
def recurrent(func, args, kwargs):
    """What ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` call, for padded sequences."""
    if kwargs or len(args) != 9:  # packed sequences are lists of positions, without a batch
        return slice_by_slice(func, args, kwargs)
    x, state, *rest = args
    batch_first = rest[-1]
    source = first_hidden((x,), {"state": state})
    depth = source.shape[0]
    batch = 0 if batch_first else 1
    states = state if isinstance(state, tuple | list) else (state,)
    states = [_into_batch(s, depth, 1) for s in states]
    states = states if func is torch.lstm else states[0]
    out, *last = func(_into_batch(x, depth, batch), states, *rest)
    found = (_out_of_batch(out, depth, batch), *(_out_of_batch(s, depth, 1) for s in last))
    return hide_like(found, source)


def _into_batch(x: torch.Tensor, depth: int, batch: int) -> torch.Tensor:
    """Depth in front of the visible dimension ``batch``, and flattened into it."""
    slices = x if isinstance(x, Hidden) else x.expand(depth, *x.shape)
    return slices.movedim(0, batch).flatten(batch, batch + 1)


def _out_of_batch(x: torch.Tensor, depth: int, batch: int) -> torch.Tensor:
    return x.unflatten(batch, (depth, -1)).movedim(batch, 0)
