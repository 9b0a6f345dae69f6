"""What a process with a pretended card of 1 MiB, one of two, can and can't do."""

from collections.abc import Callable

import torch


def counted(what: str, work: Callable[[], object]) -> int:
    """How often something was counted meanwhile."""
    torch.ops.pretended.forget_counts()
    work()
    told: int = torch.ops.pretended.counts().get(what, 0)
    return told


def refused(work: Callable[[], object]) -> str:
    """The error that something ends with."""
    try:
        work()
    except RuntimeError as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("it went through")


def main() -> None:
    """Raises `AssertionError` where the card is not as it should be."""
    here, there = torch.randn(4, 4), torch.randn(4, 4, device="cuda")
    assert str(there.device) == "cuda:0"
    assert torch.cuda.device_count() == 2
    assert torch.cuda.get_device_capability() == (9, 0)
    for mixed in (lambda: there + here, lambda: there @ here, lambda: torch.cat([here, there])):
        assert "same device" in refused(mixed)
    assert torch.equal((there @ there).cpu(), there.cpu() @ there.cpu())
    assert counted("kernels", lambda: there @ there) == 1
    assert counted("kernels", lambda: there[1:].view(3, 2, 2).mT.detach()) == 0
    assert counted("casts", lambda: there.to(torch.bfloat16)) == 1
    for waiting in (
        lambda: there.sum().item(), lambda: there.cpu(), lambda: there[there > 0],
        lambda: there.nonzero(), lambda: torch.cuda.synchronize(), lambda: here.to("cuda"),
    ):  # fmt: skip
        assert counted("waits", waiting) >= 1
    assert counted("waits", lambda: there @ there + 1) == 0
    pinned = torch.empty(4, pin_memory=True)
    assert counted("waits", lambda: pinned.to("cuda", non_blocking=True)) == 0
    before = torch.cuda.memory_allocated()
    _fill(before)
    assert torch.cuda.memory_allocated() == before
    assert torch.cuda.max_memory_allocated() >= before + (1 << 19)


def _fill(before: int) -> None:
    large = torch.empty(1 << 17, device="cuda")
    assert torch.cuda.memory_allocated() - before == 1 << 19
    assert refused(lambda: torch.cat([large, large])).startswith("OutOfMemoryError: CUDA out of")


main()
