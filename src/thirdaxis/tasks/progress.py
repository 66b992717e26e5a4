"""How long work on one scan tells how far it is."""

from collections.abc import Callable

Told = Callable[[int, int], None]
"""Called with the parts that are done, and the number of them all."""


def tell_nobody(done: int, total: int) -> None:
    """Listens without showing anything."""
