"""The card of a trained model: what a person should know before using it."""

import math
from collections.abc import Mapping
from typing import Any

import yaml

PIPELINES = {
    "segment": "image-segmentation",
    "classify": "image-classification",
    "detect": "object-detection",
    "locate": "object-detection",
}
METRICS = {
    "segment": ["dice", "hausdorff_distance"],
    "classify": ["roc_auc", "accuracy"],
    "detect": ["froc"],
    "locate": ["froc"],
}


def card_of(config: Mapping[str, Any]) -> str:
    """The text of `README.md`, with the header that the Hugging Face Hub reads.

    Args:
        config: what `config.json` holds.

    Returns:
        Markdown with a YAML header.
    """
    settings, plan, origin = config["settings"], config["plan"], config["provenance"]
    data, weights = origin.get("training_data", {}), origin.get("weights_2d", {})
    scores = _flat(origin.get("metrics", {}).get("scores", {}))
    title = f"{config['task']}: {data.get('name', 'unknown data')}"
    licence = origin.get("licence")
    header: dict[str, Any] = {
        "library_name": "thirdaxis",
        "pipeline_tag": PIPELINES.get(config["task"], config["task"]),
        "license": licence or "other",
        **({} if licence else {"license_name": "not-stated"}),
        "tags": ["medical", "3d", "thirdaxis", str(settings["fusion"]).lower()],
        "datasets": [data.get("name", "unknown")],
        "metrics": METRICS.get(config["task"], []),
    }
    labels = plan.get("labels")
    named = labels.items() if labels else enumerate(plan.get("names", []))
    channels = plan.get("channels", [])
    facts = {
        "Network": f"`{settings['network']}`, converted to volumes with `{settings['fusion']}`",
        "Answers": ", ".join(f"{value} {label}" for value, label in named),
        "Channels": channels if isinstance(channels, int) else ", ".join(channels),
        "Spacing it sees": _spacing(plan.get("spacing") or settings.get("spacing")),
        "Voxels it sees": "×".join(map(str, plan.get("patch") or plan.get("size") or [])),
        "Trained on": f"{data.get('name', 'unknown')}, {data.get('training_cases', '?')} cases "
        f"(and {data.get('held_out_cases', '?')} held out)",
        "Licence of the data": data.get("licence", "not told"),
        "2D weights": _weights(weights),
        "Licence of the 2D weights": weights.get("licence", "not told"),
        "Licence of this model": licence or "not stated by whoever trained it: ask them",
        "Made": f"{origin.get('made', '?')} by thirdaxis {origin.get('thirdaxis', '?')}",
    }
    lines = [f"- **{key}**: {value}" for key, value in facts.items()]
    table = [f"| {key} | {value:.4g} |" for key, value in scores.items()]
    return "\n".join(
        [
            "---",
            yaml.safe_dump(header, sort_keys=False, allow_unicode=True).rstrip(),
            "---",
            "",
            f"# {title}",
            "",
            *lines,
            "",
            *(["| on held-out cases | |", "|---|---|", *table, ""] if table else []),
            "```bash",
            "pip install 'thirdaxis[scans,hub]'",
            "thirdaxis predict --model MODEL SCANS  # this folder, its zip, or hf://USER/NAME",
            "```",
            "",
            "Not a medical device: made for research, not for diagnosis.",
            "",
        ]
    )


def _flat(table: Mapping[str, Any], before: str = "") -> dict[str, float]:
    """Finite numbers of nested tables, by their names joined with a space."""
    found: dict[str, float] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name} ")
        elif isinstance(value, int | float) and math.isfinite(value):
            found[before + name] = value
    return found


def _spacing(spacing: Any) -> str:
    if not spacing:
        return "each scan's own"
    return "×".join("own" if mm is None else f"{mm:g}" for mm in spacing) + " mm"


def _weights(weights: Mapping[str, Any]) -> str:
    hashed = weights.get("sha256")
    return f"{weights.get('source', 'not told')}" + (f" (SHA-256 `{hashed}`)" if hashed else "")
