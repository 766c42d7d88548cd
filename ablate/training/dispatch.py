"""What is done with every operation of torch while a context lasts, without torch's compiler."""

from torch.utils._python_dispatch import TorchDispatchMode


class Uncompiled(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context whose `__torch_dispatch__` sees every operation; none of it is compiled."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """To guard against being compiled, torch would load its compiler: a second, 800 modules."""
        return False
