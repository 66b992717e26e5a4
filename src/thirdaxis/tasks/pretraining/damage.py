"""Pictures that could not be read in the course of a run: left out, counted, and a limit."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.distributed as dist

from thirdaxis.errors import InputError


class Damage:
    """What a run found of damaged pictures, and of those stored in other colours than three.

    Args:
        most: pictures that may be damaged.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.damaged: dict[str, str] = {}
        self.converted: set[str] = set()

    def note(self, damaged: Mapping[str, str], converted: Sequence[str] = ()) -> None:
        """Counts pictures, each once however often it comes.

        Args:
            damaged: where each one lies, and what is wrong with it.
            converted: where each one lies that was stored in other colours.

        Raises:
            InputError: more of them are damaged than may be.
        """
        self.converted.update(converted)
        for name, reason in damaged.items():
            self.damaged.setdefault(name, reason)
            if len(self.damaged) > self.most:
                raise InputError(
                    f"{name}: a damaged picture ({reason}), number {len(self.damaged)}, and the "
                    f"setting damaged allows {self.most}; replace or remove it, or allow more"
                )

    def gathered(self) -> None:
        """Takes in what other devices found; all of them have to call it together."""
        if not (dist.is_available() and dist.is_initialized()):
            return
        found: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(found, (self.damaged, self.converted))
        for damaged, converted in found:
            self.damaged = damaged | self.damaged
            self.converted |= converted

    def plain(self) -> dict[str, Any]:
        """As a checkpoint can hold it."""
        return {"damaged": dict(self.damaged), "converted": sorted(self.converted)}

    def take(self, told: Mapping[str, Any]) -> None:
        """Goes on from what `plain` gave."""
        self.damaged = dict(told["damaged"])
        self.converted = set(told["converted"])
