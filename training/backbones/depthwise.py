"""Depthwise convolution in bf16 on the CPU, with its gradients in fp32.

oneDNN's gradient of a depthwise convolution is twice as slow in bf16 as in fp32 (torch 2.13, AVX-512), while everything
else in these networks is faster; one slow layer type would eat what the others win.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        x = x.bfloat16()
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight.bfloat16(), bias.bfloat16(), stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient.float(), x.float(), weight, [len(weight)], list(ctx.stride), list(ctx.padding), [1, 1],
            False, [0, 0], len(weight), list(ctx.needs_input_grad[:3]),
        )  # fmt: skip
        return None if of_x is None else of_x.to(x.dtype), of_weight, of_bias, None, None


def depthwise(x: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, ...], padding: tuple[int, int]) -> Tensor:
    """[N,C,H,W] with weight [C,1,k,k] and bias [C], both float32, to [N,C,H',W'] bfloat16."""
    return _Depthwise.apply(x, weight, bias, stride, padding)
