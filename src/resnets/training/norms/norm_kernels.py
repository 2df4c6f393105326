"""Batch norm in training, with the ReLU and the sum after it, as Triton kernels for maps in channels-last order.

Legend: M = N H W positions, C channels; a map (N, C, H, W) in channels-last order is a matrix (M, C) whose rows come one after the
other. Ioffe 2015 (1502.03167), Algorithm 1 and its gradients (§3); He 2016 eq. 1-2 for the sum.

    forward    y = relu(w (x - mean) / sqrt(var + epsilon) + b + h)     three launches: sums, statistics, result
    backward   g' = g where y > 0;  db = sum g',  dw = sum g' x^,  dx = w (g' - db / M - x^ dw / M) / sqrt(var + epsilon),  dh = g'

x^ is the normalised x. The map is read twice and written once on the way forward, read twice with its gradient and written once on the
way back. All arithmetic is in float32; what is read and written has the map's own type. Importing this imports Triton.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, import-untyped, import-not-found"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_ELEMENTS = 4096
"""Of a block of the matrix."""
_PROGRAMS = 512
"""That sum over positions; each leaves one partial sum per channel. About four for each multiprocessor of a large GPU."""


@triton.jit
def _sums_kernel(x, partial, positions, channels, splits, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Sums of x - k and (x - k)^2 over the positions of a split; k, the first position's x, keeps the squares small."""
    split = tl.program_id(1)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < channels
    first = tl.load(x + column, mask=inside, other=0.0).to(tl.float32)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    squares = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(split * ROWS, positions, splits * ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < positions)[:, None] & inside[None, :]
        place = row.to(tl.int64)[:, None] * channels + column[None, :]
        shifted = tl.where(mask, tl.load(x + place, mask=mask, other=0.0).to(tl.float32) - first[None, :], 0.0)
        total += shifted
        squares += shifted * shifted
    tl.store(partial + split * channels + column, tl.sum(total, 0), mask=inside)
    tl.store(partial + (splits + split) * channels + column, tl.sum(squares, 0), mask=inside)


@triton.jit
def _statistics_kernel(
    x, partial, statistics, running_mean, running_var, positions, channels, splits, epsilon, momentum,
    SPLITS: tl.constexpr, COLUMNS: tl.constexpr, TRACKED: tl.constexpr,
):  # fmt: skip
    """Mean and 1 / sqrt(var + epsilon) of each channel from the partial sums; moves the running statistics, whose variance is the
    unbiased one."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < channels
    split = tl.arange(0, SPLITS)
    mask = (split < splits)[:, None] & inside[None, :]
    place = split[:, None] * channels + column[None, :]
    count = positions.to(tl.float32)
    shift = tl.sum(tl.load(partial + place, mask=mask, other=0.0), 0) / count
    square = tl.sum(tl.load(partial + splits * channels + place, mask=mask, other=0.0), 0) / count
    mean = shift + tl.load(x + column, mask=inside, other=0.0).to(tl.float32)
    variance = square - shift * shift
    variance = tl.where(variance < 0, 0.0, variance)
    tl.store(statistics + column, mean, mask=inside)
    tl.store(statistics + channels + column, 1 / tl.sqrt(variance + epsilon), mask=inside)
    if TRACKED:
        before = tl.load(running_mean + column, mask=inside, other=0.0)
        tl.store(running_mean + column, before + momentum * (mean - before), mask=inside)
        before = tl.load(running_var + column, mask=inside, other=0.0)
        unbiased = variance * (count / (count - 1))
        tl.store(running_var + column, before + momentum * (unbiased - before), mask=inside)


@triton.jit
def _block_here(positions, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """This program's columns, which of them there are, which of its elements there are, and where these are."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < channels
    mask = (row < positions)[:, None] & inside[None, :]
    place = row.to(tl.int64)[:, None] * channels + column[None, :]
    return column, inside, mask, place


@triton.jit
def _result_kernel(
    x, shortcut, weight, bias, statistics, y, positions, channels,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ADDS: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """y of a block."""
    column, inside, mask, place = _block_here(positions, channels, ROWS, COLUMNS)
    mean = tl.load(statistics + column, mask=inside, other=0.0)
    scale = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    scale *= tl.load(statistics + channels + column, mask=inside, other=0.0)
    shift = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    result = (tl.load(x + place, mask=mask, other=0.0).to(tl.float32) - mean[None, :]) * scale[None, :] + shift[None, :]
    if ADDS:
        result += tl.load(shortcut + place, mask=mask, other=0.0).to(tl.float32)
    if RELU:
        result = tl.where(result < 0, 0.0, result)  # what is not a number stays so, which tl.maximum would hide
    tl.store(y + place, result.to(y.dtype.element_ty), mask=mask)


@triton.jit
def _gradient_sums_kernel(
    x, y, gradient, statistics, partial, positions, channels, splits,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Sums of g' and g' x^ over the positions of a split."""
    split = tl.program_id(1)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < channels
    mean = tl.load(statistics + column, mask=inside, other=0.0)
    scale = tl.load(statistics + channels + column, mask=inside, other=0.0)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    product = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(split * ROWS, positions, splits * ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < positions)[:, None] & inside[None, :]
        place = row.to(tl.int64)[:, None] * channels + column[None, :]
        g = tl.load(gradient + place, mask=mask, other=0.0).to(tl.float32)
        if RELU:
            g = tl.where(tl.load(y + place, mask=mask, other=0.0).to(tl.float32) <= 0, 0.0, g)
        total += g
        product += g * (tl.load(x + place, mask=mask, other=0.0).to(tl.float32) - mean[None, :]) * scale[None, :]
    tl.store(partial + split * channels + column, tl.sum(total, 0), mask=inside)
    tl.store(partial + (splits + split) * channels + column, tl.sum(product, 0), mask=inside)


@triton.jit
def _gradient_kernel(
    x, y, gradient, weight, statistics, sums, dx, dh, positions, channels,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ADDS: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """dx and dh of a block."""
    column, inside, mask, place = _block_here(positions, channels, ROWS, COLUMNS)
    mean = tl.load(statistics + column, mask=inside, other=0.0)
    scale = tl.load(statistics + channels + column, mask=inside, other=0.0)
    count = positions.to(tl.float32)
    mean_gradient = tl.load(sums + column, mask=inside, other=0.0) / count
    mean_product = tl.load(sums + channels + column, mask=inside, other=0.0) / count
    g = tl.load(gradient + place, mask=mask, other=0.0).to(tl.float32)
    if RELU:
        g = tl.where(tl.load(y + place, mask=mask, other=0.0).to(tl.float32) <= 0, 0.0, g)
    if ADDS:
        tl.store(dh + place, g.to(dh.dtype.element_ty), mask=mask)
    normalised = (tl.load(x + place, mask=mask, other=0.0).to(tl.float32) - mean[None, :]) * scale[None, :]
    scale *= tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    result = (g - mean_gradient[None, :] - normalised * mean_product[None, :]) * scale[None, :]
    tl.store(dx + place, result.to(dx.dtype.element_ty), mask=mask)


class NormSumReLU(torch.autograd.Function):
    """relu(batch norm(x) + h) with the batch's statistics; sum and ReLU by choice.

    x and h: (N, C, H, W), float32, float16 or bfloat16, in channels-last order; weight, bias and the running statistics: (C,), float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shortcut: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        momentum: float,
        epsilon: float,
        relu: bool,
    ) -> Tensor:
        positions, channels = x.numel() // x.shape[1], x.shape[1]
        rows, columns = _block(channels)
        splits = _splits(positions, channels)
        partial = x.new_empty((2, splits, channels), dtype=torch.float32)
        statistics = x.new_empty((2, channels), dtype=torch.float32)
        y = torch.empty_like(x)
        tiles, blocks = triton.cdiv(channels, columns), triton.cdiv(positions, rows)
        _sums_kernel[(tiles, splits)](x, partial, positions, channels, splits, ROWS=rows, COLUMNS=columns)
        _statistics_kernel[(triton.cdiv(channels, 32),)](
            x, partial, statistics, running_mean, running_var, positions, channels, splits, epsilon, momentum,
            SPLITS=triton.next_power_of_2(splits), COLUMNS=32, TRACKED=running_mean is not None,
        )  # fmt: skip
        _result_kernel[(blocks, tiles)](
            x, shortcut, weight, bias, statistics, y, positions, channels,
            ROWS=rows, COLUMNS=columns, ADDS=shortcut is not None, RELU=relu,
        )  # fmt: skip
        ctx.adds, ctx.relu = shortcut is not None, relu
        ctx.save_for_backward(x, y if relu else None, weight, statistics)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weight, statistics = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        positions, channels = x.numel() // x.shape[1], x.shape[1]
        rows, columns = _block(channels)
        splits = _splits(positions, channels)
        partial = x.new_empty((2, splits, channels), dtype=torch.float32)
        tiles, blocks = triton.cdiv(channels, columns), triton.cdiv(positions, rows)
        _gradient_sums_kernel[(tiles, splits)](
            x, y, gradient, statistics, partial, positions, channels, splits, ROWS=rows, COLUMNS=columns, RELU=ctx.relu
        )
        sums = partial.sum(1)
        dx, dh = torch.empty_like(x), torch.empty_like(x) if ctx.adds else None
        _gradient_kernel[(blocks, tiles)](
            x, y, gradient, weight, statistics, sums, dx, dh, positions, channels,
            ROWS=rows, COLUMNS=columns, ADDS=ctx.adds, RELU=ctx.relu,
        )  # fmt: skip
        return dx, dh, sums[1].to(weight.dtype), sums[0].to(weight.dtype), None, None, None, None, None


def _block(channels: int) -> tuple[int, int]:
    """Rows and columns of a block: whole rows of memory up to 128 channels."""
    columns = min(128, triton.next_power_of_2(channels))
    return _ELEMENTS // columns, columns


def _splits(positions: int, channels: int) -> int:
    """Among how many programs per channel's positions are shared out."""
    rows, columns = _block(channels)
    return int(max(1, min(triton.cdiv(positions, rows), _PROGRAMS // triton.cdiv(channels, columns), 128)))
