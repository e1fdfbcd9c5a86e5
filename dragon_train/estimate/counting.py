"""Count what code does with tensors, real or fake: arithmetic, memory traffic, and the memory in use at once."""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

aten = torch.ops.aten
MATMUL, CONVOLUTION, ATTENTION = "matmul", "convolution", "attention"
ATTENTION_BACKWARD = "attention backward"
FUNCTION, OTHER, VIEW = "function", "other", "view"
FUNCTIONS = (
    "exp",
    "log",
    "pow",
    "sin",
    "cos",
    "tan",
    "erf",
    "elu",
    "silu",
    "sigmoid",
    "softmax",
    "norm",
    "sqrt",
    "fft",
)
ON_CPU = aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001  which torch's own counter leaves out
ON_CPU_BACKWARD = aten._scaled_dot_product_flash_attention_for_cpu_backward  # noqa: SLF001


@dataclass(frozen=True)
class Cost:
    """The cost of one operation.

    Attributes:
        kind: `matmul`, `convolution`, `attention`, `attention backward`; `function`, which is more than an addition of
            each element, `other`; or `view`, which computes nothing.
        dtype: the type of its result.
        flops: the floating point operations of products, a multiplication and an addition each; 0 of other kinds.
        traffic: the bytes that it reads and writes.
        width: the width of an attention's heads; 0 of other kinds.
        heads: the heads of an attention in all its batch; each costs time of its own, however small it is.
    """

    kind: str
    dtype: torch.dtype
    flops: int
    traffic: int
    width: int = 0
    heads: int = 1


@dataclass
class Count:
    """The cost of some code.

    Attributes:
        costs: the costs of its operations, and how often each occurs.
        peak: the most bytes in use at once, of what it made itself.
        kept: the bytes that are still in use at its end.
    """

    costs: Counter[Cost] = field(default_factory=Counter)
    peak: int = 0
    kept: int = 0

    @property
    def flops(self) -> int:
        """The number of floating point operations of all products."""
        return sum(cost.flops * times for cost, times in self.costs.items())

    def times(self, factor: float) -> Count:
        """Return the count of this code done `factor` times, one after the other; each time takes the same memory."""
        return Count(Counter({cost: times * factor for cost, times in self.costs.items()}), self.peak, self.kept)

    def then(self, other: Count) -> Count:
        """Return the count of this code and then the other's."""
        costs = self.costs.copy()
        costs.update(other.costs)
        return Count(costs, max(self.peak, self.kept + other.peak), self.kept + other.kept)

    def without(self, other: Count) -> Count:
        """Return the arithmetic that this code has beyond the other's, with the memory of this one."""
        return Count(self.costs - other.costs, self.peak, self.kept)


class Counting(TorchDispatchMode):
    """A mode in which every operation of torch is counted; a value asked of a fake tensor is 1, or true.

    So code that asks whether a loss is finite hears that it is; weights without values equal others of their shape, and
    where code asks which entries are true, all of them are.

    Attributes:
        count: the count so far.
        sizes: the bytes of each storage that is in use, by its identity.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count, self.sizes = Count(), dict[int, int]()

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self.sizes.clear()  # what is let go from now on stays in `kept`

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):  # noqa: SLF001
            return torch.ones((), dtype=args[0].dtype).item()
        if func is aten.equal.default and any(isinstance(tensor, FakeTensor) for tensor in args):
            return args[0].shape == args[1].shape
        if func is aten.nonzero.default and isinstance(args[0], FakeTensor):
            return args[0].new_empty((args[0].numel(), args[0].ndim), dtype=torch.long)
        out = func(*args, **(kwargs or {}))
        if func.namespace != "prim":  # autograd asks tensors without values for their device, and others not
            self.count.costs[cost_of(func, args, kwargs or {}, out)] += 1
        given = {identity(tensor.untyped_storage()) for tensor in tensors_of((args, kwargs))}
        for made in tensors_of(out):
            self._hold(made.untyped_storage(), given)
        return out

    def _hold(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        """Count a storage that is new; a view of a weight shares the weight's storage."""
        key = identity(storage)
        if key not in self.sizes and key not in given:
            self.sizes[key] = storage.nbytes()
            weakref.finalize(storage, self._let_go, key)
            self.count.kept += storage.nbytes()
            self.count.peak = max(self.count.peak, self.count.kept)

    def _let_go(self, key: int) -> None:
        self.count.kept -= self.sizes.pop(key, 0)


def tensors_of(nested: object) -> list[Tensor]:
    """Return all tensors in nested arguments or results."""
    return [leaf for leaf in tree_leaves(nested) if isinstance(leaf, Tensor)]


def identity(storage: torch.UntypedStorage) -> int:
    """Return a number that is the same for all tensors that share a storage."""
    return int(storage._cdata)  # noqa: SLF001  torch has no public one


def cost_of(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> Cost:
    """Return the cost of one call of an operation."""
    dtype = next((made.dtype for made in tensors_of(out)), torch.float32)
    packet = func._overloadpacket  # noqa: SLF001
    flops = int(flops_of(packet, args, kwargs, out))
    if not flops and is_view(func):
        return Cost(VIEW, dtype, 0, 0)
    traffic = sum(tensor.nbytes for tensor in tensors_of((args, kwargs, out)))
    kind = kind_of(str(packet), multiplies=bool(flops))
    if kind not in {ATTENTION, ATTENTION_BACKWARD}:
        return Cost(kind, dtype, flops, traffic)
    *heads, _, width = args[0].shape
    return Cost(kind, dtype, flops, traffic, width, prod(heads))


def flops_of(packet: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> float:
    """Return the floating point operations of products in one call, as torch counts them.

    Torch's counter leaves out the CPU's attention, which is counted here by the shapes of its arguments.
    """
    if packet is ON_CPU:
        return float(sdpa_flop_count(*(tensor.shape for tensor in args[:3])))
    if packet is ON_CPU_BACKWARD:
        return float(sdpa_backward_flop_count(*(tensor.shape for tensor in args[:4])))
    return float(flop_registry[packet](*args, **kwargs, out_val=out)) if packet in flop_registry else 0.0


def kind_of(name: str, *, multiplies: bool) -> str:
    """Return the kind of an operation that is no view, by its name.

    >>> kind_of("aten.convolution", multiplies=True), kind_of("aten.gelu", multiplies=False)
    ('convolution', 'function')
    """
    if not multiplies:
        return FUNCTION if any(word in name for word in FUNCTIONS) else OTHER
    if "convolution" in name:
        return CONVOLUTION
    if "attention" in name:
        return ATTENTION_BACKWARD if "backward" in name else ATTENTION
    return MATMUL


def is_view(func: Any) -> bool:
    """Return whether the result of an operation is the argument's own memory, untouched."""
    returned = func._schema.returns  # noqa: SLF001
    return bool(returned) and returned[0].alias_info is not None and not returned[0].alias_info.is_write
