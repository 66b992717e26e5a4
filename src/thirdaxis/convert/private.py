"""The torch names that are not clearly public, in one place, tested on every supported torch."""

import torch

# Inside this context a call on a tensor subclass runs as on a plain tensor and returns plain ones.
plain = torch._C.DisableTorchFunctionSubclass

# What all batch norms are, lazy and synchronised ones too.
BatchNorm = torch.nn.modules.batchnorm._BatchNorm
