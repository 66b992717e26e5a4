"""What pretraining ends in: one file of weights that tells where it is from, and its card."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import yaml
from torch import nn

import thirdaxis
from thirdaxis.atomic import atomic_path, write_text
from thirdaxis.nets.saved import weights_of
from thirdaxis.tasks.pretraining.settings import PretrainSettings
from thirdaxis.tasks.run_folder import versions
from thirdaxis.tasks.trained.provenance import shareable

FILE, CARD = "pretrained.safetensors", "pretrained.md"


@dataclass(frozen=True)
class Pretrained:
    """What is told of pretrained weights, in the header of their file and on their card.

    Args:
        data: what the data are, in numbers and words by name, such as ``{"pictures": 1281167}``.
        epochs: that were trained.
        chosen_epoch: whose weights these are, counted from 1.
        steps: that were trained.
        scores: of these weights on held-out pictures, such as ``{"top-1": 0.734}``.
        note: further sentences; may be empty.
    """

    data: Mapping[str, int | str]
    epochs: int
    chosen_epoch: int
    steps: int
    scores: Mapping[str, float]
    note: str = ""

    @classmethod
    def of(
        cls,
        epochs: Mapping[str, Any],
        data: Mapping[str, int | str],
        scores: Mapping[str, float],
    ) -> Self:
        """The same from what `told_epochs` tells of the training."""
        return cls(data, epochs["epochs"], epochs["chosen_epoch"], epochs["steps"], scores)


def write_pretrained(
    folder: Path, net: nn.Module, settings: PretrainSettings, told: Pretrained
) -> Path:
    """Writes the weights of a network as `FILE` and their card as `CARD`, each whole.

    The header of the file holds what the card says, as words: `license` by the name under which
    readers of safetensors look for it, numbers and tables as JSON. No place of this machine is in
    it.

    Args:
        folder: where to, there already.
        net: whose weights and buffers are kept, by its own names.
        settings: of the run.
        told: what came of it.

    Returns:
        The file of weights.

    Raises:
        OSError: the folder is full or not writable.
    """
    facts = facts_of(settings, told)
    header = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in facts.items()
        if value is not None
    }
    path = folder / FILE
    content = weights_of(net, {"format": "pt", **header})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    write_text(folder / CARD, card_text(facts))
    return path


def facts_of(settings: PretrainSettings, told: Pretrained) -> dict[str, Any]:
    """Everything that header and card say, by name."""
    kept = shareable(settings)
    recipe = {k: v for k, v in kept.plain().items() if k not in ("about", "licence", "task")}
    known = versions()
    return {
        "task": settings.task,
        "network": settings.network,
        "license": settings.licence,
        "data": settings.named_data,
        "data_licence": settings.data_licence,
        **{name: value for name, value in asdict(told).items() if name != "data"},
        "data_numbers": dict(told.data),
        "about": None if settings.about is None else settings.about.model_dump(exclude_none=True),
        "settings": recipe,
        "thirdaxis": thirdaxis.__version__,
        "versions": {name: value for name, value in known.items() if name != "platform"},
        "made": datetime.now(UTC).date().isoformat(),
    }


def card_text(facts: Mapping[str, Any]) -> str:
    """The card in Markdown, with the header that the Hugging Face Hub reads.

    Args:
        facts: see `facts_of`.
    """
    licence, told = facts["license"], facts["settings"]
    header: dict[str, Any] = {
        "library_name": "thirdaxis",
        "license": licence or "other",
        **({} if licence else {"license_name": "not-stated"}),
        "datasets": [facts["data"]],
        "tags": ["pretrained", "thirdaxis", *(["3d"] if _in_3d(told) else [])],
    }
    numbers = ", ".join(f"{value} {name}" for name, value in facts["data_numbers"].items())
    lines = {
        "Network": f"`{facts['network']}`, " + _conversion(told),
        "Learnt on": f"{facts['data']}: {numbers}",
        "Licence of the data": facts["data_licence"] or "not told by whoever trained it",
        "Licence of these weights": licence or "not stated by whoever trained it: ask them",
        "Epochs": f"{facts['epochs']}, {facts['steps']} steps; weights of "
        f"{'a moving average at the end of ' if told['ema'] else ''}epoch {facts['chosen_epoch']}",
        "Begun from": told["weights"] or "random start",
        "Made": f"{facts['made']} by thirdaxis {facts['thirdaxis']}",
        **({"Of these data": facts["note"]} if facts["note"] else {}),
    }
    about = facts["about"] or {}
    if about.get("paper"):
        rerun = (about["paper"], about.get("table"), about.get("row"))
        lines["Recipe after"] = ", ".join(part for part in rerun if part)
    scores = [f"| {name} | {value:.4f} |" for name, value in facts["scores"].items()]
    recipe = yaml.safe_dump(told, sort_keys=False, default_flow_style=None, width=96).rstrip()
    return "\n".join(
        [
            "---",
            yaml.safe_dump(header, sort_keys=False, allow_unicode=True).rstrip(),
            "---",
            "",
            f"# {facts['network']} pretrained on {facts['data']}",
            "",
            *(f"- **{name}**: {value}" for name, value in lines.items()),
            "",
            *(
                [
                    "| on held-out pictures, by which the epoch was chosen | |",
                    "|---|---|",
                    *scores,
                    "",
                ]
                if scores
                else []
            ),
            "```bash",
            f"thirdaxis train DATA --network {facts['network']} --weights {FILE} --out run",
            "```",
            "",
            "Every setting of its training:",
            "",
            "```yaml",
            recipe,
            "```",
            "",
            *(f"- {name} {value}" for name, value in facts["versions"].items()),
            "",
        ]
    )


def _in_3d(told: Mapping[str, Any]) -> bool:
    return told["transform"] == "variable_dimension"


def _conversion(told: Mapping[str, Any]) -> str:
    if not _in_3d(told):
        return "in 2D"
    depth = "reduced with height and width" if told["depth_stride"] else "kept"
    return f"in 3D by `{told['fusion']}`, depth {depth}, colours as three slices"
