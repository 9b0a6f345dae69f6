"""Bytes of a computation with its backward pass: a tape on which tensors are sizes only.

Operations allocate what PyTorch's would, closures hold what autograd would save, and Python's
reference counts free it when nothing holds it any more. Nothing is computed but totals.
"""

from collections.abc import Callable

Backward = Callable[["list[Value]"], "list[Value | None]"]
"""From a list with the gradient of an output, which it may empty, to those of the inputs."""


class Memory:
    """What is held, by part, and the most that ever was."""

    __slots__ = ("allocated", "by_part", "moment", "part", "peak", "peak_moment", "peak_parts")

    def __init__(self) -> None:
        self.allocated = 0
        self.by_part: dict[str, int] = {}
        self.part = "batch"
        """What new blocks belong to."""
        self.moment = "forward pass"
        self.peak = 0
        self.peak_moment = ""
        self.peak_parts: dict[str, int] = {}

    def block(self, size_bytes: int) -> "Block":
        """Memory that is held for as long as the result is."""
        return Block(self, size_bytes)


class Block:
    """Memory of one tensor, given back when the last reference to it goes."""

    __slots__ = ("memory", "part", "size_bytes")

    def __init__(self, memory: Memory, size_bytes: int) -> None:
        self.memory, self.size_bytes, self.part = memory, size_bytes, memory.part
        memory.allocated += size_bytes
        by_part = memory.by_part
        by_part[self.part] = by_part.get(self.part, 0) + size_bytes
        if memory.allocated > memory.peak:
            memory.peak, memory.peak_moment = memory.allocated, memory.moment
            memory.peak_parts = by_part.copy()

    def __del__(self) -> None:
        self.memory.allocated -= self.size_bytes
        self.memory.by_part[self.part] -= self.size_bytes


class Node:
    """Where gradients pass on their way back; one without `backward` is a leaf."""

    __slots__ = ("backward", "inputs")

    def __init__(self, inputs: "list[Node | None]", backward: Backward | None) -> None:
        self.inputs, self.backward = inputs, backward


class Value:
    """A tensor: how many numbers of how many bytes, where they lie, and its place on the tape."""

    __slots__ = ("block", "count", "node", "width")

    def __init__(self, block: Block | None, count: int, width: int, node: Node | None = None):
        self.block, self.count, self.width, self.node = block, count, width, node

    def detached(self) -> "Value":
        """The same memory, off the tape."""
        return Value(self.block, self.count, self.width)


class Tape:
    """Operations in the order they ran; without `records` nothing is kept for a backward pass."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.nodes: list[Node] = []
        self.records = True

    def new(self, count: int, width: int) -> Value:
        """A tensor that no gradient goes through."""
        return Value(Block(self.memory, count * width), count, width)

    def block(self, size_bytes: int) -> Block:
        """Memory without a tensor's shape."""
        return Block(self.memory, size_bytes)

    def leaf(self, value: Value) -> Node:
        """Make a tensor one whose gradient is wanted."""
        value.node = Node([], None)
        self.nodes.append(value.node)
        return value.node

    def out(self, count: int, width: int, inputs: list[Value], backward: Backward) -> Value:
        """The result of an operation."""
        return self.linked(self.new(count, width), inputs, backward)

    def op(
        self,
        count: int,
        width: int,
        inputs: list[Value],
        gradients: list[tuple[int, int] | None],
        saved: object = None,
    ) -> Value:
        """The result of an operation that saves something for its backward pass.

        That takes no more than the gradients of its inputs: counts and widths, None for those that
        want none.
        """

        def backward(g: list[Value]) -> list[Value | None]:
            _ = saved
            return [self.new(*size) if size else None for size in gradients]

        return self.out(count, width, inputs, backward)

    def linked(self, value: Value, inputs: list[Value], backward: Backward) -> Value:
        """A result that is there already, put on the tape where an input needs a gradient."""
        if self.records:
            nodes = [value.node for value in inputs]
            if any(nodes):
                value.node = Node(nodes, backward)
                self.nodes.append(value.node)
        return value

    def cast(self, value: Value, width: int) -> Value:
        """In numbers of another size; a no-op where they are of that size."""
        if value.width == width:
            return value
        return self.op(value.count, width, [value], [(value.count, value.width)])

    def add(self, left: Value, right: Value) -> Value:
        """Sum of two tensors of one shape."""
        width = max(left.width, right.width)
        return self.out(left.count, width, [left, right], lambda g: [g[0], g[0]])

    def scaled(self, value: Value) -> Value:
        """Times something that needs no gradient."""
        return self.op(value.count, value.width, [value], [(value.count, value.width)])

    def backward(self, gradients: dict[Node, Value]) -> dict[Node, Value]:
        """Run the tape back from gradients of its last values; gives those of its leaves."""
        while self.nodes:
            node = self.nodes.pop()
            if node.backward is None:
                continue
            gradient = gradients.pop(node, None)
            if gradient is None:
                node.backward, node.inputs = None, []
                continue
            outer = [gradient]
            del gradient
            inner = node.backward(outer)
            del outer
            node.backward, inputs, node.inputs = None, node.inputs, []
            for index, target in enumerate(inputs):
                of_input, inner[index] = inner[index], None
                if target is not None and of_input is not None and target not in gradients:
                    gradients[target] = of_input
                del of_input
        return gradients
