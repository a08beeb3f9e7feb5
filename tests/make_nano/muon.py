"""Muon: momentum whose matrices are made orthogonal before they are taken as steps.

After Jordan et al. (https://kellerjordan.github.io/posts/muon); the size of a step is that of Liu
et al. (arXiv 2502.16982), with which AdamW's learning rate and weight decay can be kept.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95
STEPS = 5  # of Newton and Schulz
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
EAGER = 3  # steps before the graph is recorded
LIKE_ADAM = 0.2  # root mean square of a step, as AdamW's


class Muon(torch.optim.Optimizer):  # type: ignore[misc]
    """Steps for matrices, and for stacks of matrices such as a layer's experts.

    All matrices of one shape are one stack, and on a GPU the whole step is one recorded graph:
    launched one by one, its hundreds of small kernels take longer than the model.
    """

    def __init__(self, matrices: Iterable[Tensor], *, rate: float, weight_decay: float) -> None:
        shapes: dict[tuple[int, ...], list[Tensor]] = {}
        for matrix in matrices:
            shapes.setdefault(tuple(matrix.shape[-2:]), []).append(matrix)
        alike = [weight for weights in shapes.values() for weight in weights]
        super().__init__(alike, {"lr": rate})
        self.weight_decay = weight_decay
        self.stacks = [_Stack(weights) for weights in shapes.values()]
        self.rate = torch.zeros((), device=alike[0].device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.steps = 0

    def step(self) -> None:
        with torch.no_grad():
            self._step()

    def _step(self) -> None:
        for stack in self.stacks:
            stack.gather()
        self.rate.fill_(self.param_groups[0]["lr"])
        self.steps += 1
        if self.rate.is_cuda and self.steps > EAGER:
            if self.graph is None:
                self.graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self.graph):
                    self._update()
            self.graph.replay()
        else:
            self._update()

    def _update(self) -> None:
        for stack in self.stacks:
            stack.update(self.rate, self.weight_decay)


class _Stack:
    """All matrices of one shape, with their gradients and momentum, of shape [count, rows,
    columns].
    """

    def __init__(self, weights: list[Tensor]) -> None:
        shape = weights[0].shape[-2:]
        self.shape = tuple(shape)
        self.weights = weights
        self.counts = [weight.numel() // shape.numel() for weight in weights]
        self.gradient = weights[0].new_zeros((sum(self.counts), *shape), requires_grad=False)
        self.momentum = torch.zeros_like(self.gradient)

    def gather(self) -> None:
        parts = [weight.grad.reshape(-1, *self.shape) for weight in self.weights]
        torch.cat(parts, out=self.gradient)

    def update(self, rate: Tensor, weight_decay: float) -> None:
        self.momentum.lerp_(self.gradient, 1 - MOMENTUM)
        steps = orthogonal(self.gradient.lerp(self.momentum, MOMENTUM))
        steps = steps * (-LIKE_ADAM * max(self.shape) ** 0.5 * rate)
        parts = zip(steps.split(self.counts), self.weights, strict=True)
        torch._foreach_mul_(self.weights, 1 - rate * weight_decay)
        torch._foreach_add_(self.weights, [part.view_as(weight) for part, weight in parts])


def orthogonal(stack: Tensor) -> Tensor:
    """Return for every matrix of a stack one with its directions, all of about length 1.

    Args:
        stack: Matrices, of shape [count, rows, columns].
    """
    a, b, c = COEFFICIENTS
    x = stack.bfloat16()
    tall = x.size(1) > x.size(2)
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(STEPS):
        square = x @ x.mT
        mixed = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, mixed, x, beta=a)
    return (x.mT if tall else x).to(stack.dtype).contiguous()
