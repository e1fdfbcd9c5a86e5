"""The Inception network that FID is defined on: the graph that TensorFlow released on 2015-12-05, in torch.

The architecture is Inception v3 (arXiv 1512.00567), as that graph has it. It differs from later ones, torchvision's
among them, in two things that change every value: averages at an edge leave out what lies beyond it, and the last block
takes a maximum where the others average. Weights have the names that pytorch-fid and torch-fidelity gave them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, cat, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

if TYPE_CHECKING:
    from collections.abc import Callable

EPSILON = 1e-3  # of the graph's batch normalisation
WIDTH = 2048  # values for each image


@dataclass(frozen=True)
class Layer:
    """A convolution of a block.

    Attributes:
        name: the name of its weights within the block.
        filters: the number of its filters.
        height: of a filter, in pixels.
        width: of a filter, in pixels.
        stride: 2 where it halves the size, and then nothing is padded.
    """

    name: str
    filters: int
    height: int = 1
    width: int = 1
    stride: int = 1


def untouched(values: Tensor) -> Tensor:
    """Return the values themselves, as a branch without a pool does."""
    return values


@dataclass(frozen=True)
class Branch:
    """What a block does beside its other branches.

    Attributes:
        stages: one after another; the layers of a stage stand side by side.
        pool: what comes before the first stage.
    """

    stages: tuple[tuple[Layer, ...], ...] = ()
    pool: Callable[[Tensor], Tensor] = untouched


AVERAGE = partial(avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
MAXIMUM = partial(max_pool2d, kernel_size=3, stride=1, padding=1)
HALVE = Branch(pool=partial(max_pool2d, kernel_size=3, stride=2))


class Convolution(nn.Module):
    """A convolution, normalised and rectified."""

    def __init__(self, inputs: int, layer: Layer, *, padded: bool = True) -> None:
        super().__init__()
        kernel = (layer.height, layer.width)
        padding = (layer.height // 2, layer.width // 2) if padded and layer.stride == 1 else 0
        self.conv = nn.Conv2d(inputs, layer.filters, kernel, layer.stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(layer.filters, EPSILON)

    def forward(self, values: Tensor) -> Tensor:
        """Return the values after it, (images, filters, height, width)."""
        return relu(self.bn(self.conv(values)))


class Block(nn.Module):
    """Branches side by side, whose outputs are joined."""

    def __init__(self, inputs: int, *branches: Branch) -> None:
        super().__init__()
        self.branches = branches
        for branch in branches:
            width = inputs
            for stage in branch.stages:
                for layer in stage:
                    self.add_module(layer.name, Convolution(width, layer))
                width = sum(layer.filters for layer in stage)

    def forward(self, values: Tensor) -> Tensor:
        """Return the joined values, (images, filters of all branches, height, width)."""
        return cat([self._of(branch, values) for branch in self.branches], 1)

    def _of(self, branch: Branch, values: Tensor) -> Tensor:
        values = branch.pool(values)
        for stage in branch.stages:
            values = cat([self.get_submodule(layer.name)(values) for layer in stage], 1)
        return values


def chain(*layers: Layer, pool: Callable[[Tensor], Tensor] = untouched) -> Branch:
    """Return a branch of layers one after another."""
    return Branch(tuple((layer,) for layer in layers), pool)


def small_filters(inputs: int, pooled: int) -> Block:
    """Return a block with filters of 5 x 5 and 3 x 3 pixels, of 224 + `pooled` filters."""
    return Block(
        inputs,
        chain(Layer("branch1x1", 64)),
        chain(Layer("branch5x5_1", 48), Layer("branch5x5_2", 64, 5, 5)),
        chain(
            Layer("branch3x3dbl_1", 64),
            Layer("branch3x3dbl_2", 96, 3, 3),
            Layer("branch3x3dbl_3", 96, 3, 3),
        ),
        chain(Layer("branch_pool", pooled), pool=AVERAGE),
    )


def first_halving(inputs: int) -> Block:
    """Return a block that halves the size, of 480 filters more."""
    return Block(
        inputs,
        chain(Layer("branch3x3", 384, 3, 3, stride=2)),
        chain(
            Layer("branch3x3dbl_1", 64),
            Layer("branch3x3dbl_2", 96, 3, 3),
            Layer("branch3x3dbl_3", 96, 3, 3, stride=2),
        ),
        HALVE,
    )


def long_filters(inner: int) -> Block:
    """Return a block with filters of 1 x 7 and 7 x 1 pixels, `inner` of them between 768 and 768."""
    return Block(
        768,
        chain(Layer("branch1x1", 192)),
        chain(Layer("branch7x7_1", inner), Layer("branch7x7_2", inner, 1, 7), Layer("branch7x7_3", 192, 7, 1)),
        chain(
            Layer("branch7x7dbl_1", inner),
            Layer("branch7x7dbl_2", inner, 7, 1),
            Layer("branch7x7dbl_3", inner, 1, 7),
            Layer("branch7x7dbl_4", inner, 7, 1),
            Layer("branch7x7dbl_5", 192, 1, 7),
        ),
        chain(Layer("branch_pool", 192), pool=AVERAGE),
    )


def second_halving() -> Block:
    """Return a block that halves the size, from 768 to 1280 filters."""
    return Block(
        768,
        chain(Layer("branch3x3_1", 192), Layer("branch3x3_2", 320, 3, 3, stride=2)),
        chain(
            Layer("branch7x7x3_1", 192),
            Layer("branch7x7x3_2", 192, 1, 7),
            Layer("branch7x7x3_3", 192, 7, 1),
            Layer("branch7x7x3_4", 192, 3, 3, stride=2),
        ),
        HALVE,
    )


def forked_filters(inputs: int, pool: Callable[[Tensor], Tensor]) -> Block:
    """Return a block whose branches fork into filters of 1 x 3 and 3 x 1 pixels, of 2048 filters."""
    fork = (Layer("branch3x3_2a", 384, 1, 3), Layer("branch3x3_2b", 384, 3, 1))
    second = (Layer("branch3x3dbl_3a", 384, 1, 3), Layer("branch3x3dbl_3b", 384, 3, 1))
    return Block(
        inputs,
        chain(Layer("branch1x1", 320)),
        Branch(((Layer("branch3x3_1", 384),), fork)),
        Branch(((Layer("branch3x3dbl_1", 448),), (Layer("branch3x3dbl_2", 384, 3, 3),), second)),
        chain(Layer("branch_pool", 192), pool=pool),
    )


class Inception(nn.Module):
    """The network from pixels in [-1, 1), (images, 3, 299, 299), to the values of the last pool, (images, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        halve = partial(nn.MaxPool2d, kernel_size=3, stride=2)
        layers: dict[str, nn.Module] = {
            "Conv2d_1a_3x3": Convolution(3, Layer("", 32, 3, 3, stride=2)),
            "Conv2d_2a_3x3": Convolution(32, Layer("", 32, 3, 3), padded=False),
            "Conv2d_2b_3x3": Convolution(32, Layer("", 64, 3, 3)),
            "MaxPool_1": halve(),
            "Conv2d_3b_1x1": Convolution(64, Layer("", 80)),
            "Conv2d_4a_3x3": Convolution(80, Layer("", 192, 3, 3), padded=False),
            "MaxPool_2": halve(),
            "Mixed_5b": small_filters(192, 32),
            "Mixed_5c": small_filters(256, 64),
            "Mixed_5d": small_filters(288, 64),
            "Mixed_6a": first_halving(288),
            "Mixed_6b": long_filters(128),
            "Mixed_6c": long_filters(160),
            "Mixed_6d": long_filters(160),
            "Mixed_6e": long_filters(192),
            "Mixed_7a": second_halving(),
            "Mixed_7b": forked_filters(1280, AVERAGE),
            "Mixed_7c": forked_filters(WIDTH, MAXIMUM),
        }
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the values of the last pool, (images, 2048)."""
        values = pixels
        for layer in self.children():
            values = layer(values)
        return values.mean((2, 3))
