"""A trained segmentation as MONAI's own transforms and windows do it."""

from typing import Any

from thirdaxis.errors import UsageError
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.preprocess import preprocessing
from thirdaxis.tasks.segmentation.settings import SegmentSettings
from thirdaxis.tasks.trained.bundle_parts import Part, chain, intensity, part, workflow

AXIS_NAMES = [["L", "R"], ["P", "A"], ["I", "S"]]


def task_of(plan: Plan) -> str:
    """What it does, in a few words."""
    return f"Segmentation of {', '.join(name for v, name in sorted(plan.labels.items()) if v)}"


def formats(plan: Plan) -> dict[str, Any]:
    """What goes in and comes out."""
    window: dict[str, Any] = {
        "type": "image",
        "modality": ", ".join(plan.channels),
        "spatial_shape": list(plan.window or plan.patch),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
    }
    return {
        "inputs": {
            "image": {
                **window,
                "format": "magnitude",
                "num_channels": len(plan.channels),
                "channel_def": {str(i): name for i, name in enumerate(plan.channels)},
            }
        },
        "outputs": {
            "pred": {
                **window,
                "format": "labels",
                "num_channels": plan.classes,
                "channel_def": {str(value): name for value, name in plan.labels.items()},
            }
        },
    }


def inference(settings: SegmentSettings, plan: Plan) -> Part:
    """The workflow that writes label maps.

    Raises:
        UsageError: a network that has learnt nothing at the ends of its windows.
    """
    if settings.loss_rim:
        raise UsageError(
            "MONAI's windows count to their ends, where a network trained with loss_rim knows "
            "nothing; pack the model as itself, or a stage trained without"
        )
    return workflow(
        datalist="$sorted(glob.glob(os.path.join(@dataset_dir, '*.nii.gz')))",
        preprocessing=chain(_before(settings, plan)),
        inferer=part(
            "SlidingWindowInferer",
            roi_size=list(plan.window or plan.patch),
            sw_batch_size=4,
            overlap=settings.overlap,
            mode="gaussian",
        ),
        postprocessing=chain(_after(settings, plan)),
    )


def _before(settings: SegmentSettings, plan: Plan) -> list[Part]:
    steps = preprocessing(settings, plan)
    read = [part("LoadImaged", keys="image"), part("EnsureChannelFirstd", keys="image")]
    turned = part("Orientationd", keys="image", axcodes=steps.orientation, labels=AXIS_NAMES)
    if steps.spacing is not None:
        turned = part(
            "thirdaxis.data.grid_transform.ToGridd",
            keys="image",
            orientation=steps.orientation,
            spacing=list(steps.spacing),
        )
    return [*read, turned, intensity(steps.intensity)]


def _after(settings: SegmentSettings, plan: Plan) -> list[Part]:
    steps = [
        part("Activationsd", keys="pred", softmax=True),
        part(
            "Invertd",
            keys="pred",
            transform="@preprocessing",
            orig_keys="image",
            nearest_interp=False,
        ),
        part("AsDiscreted", keys="pred", argmax=True),
    ]
    if settings.largest_component:
        steps.append(
            part(
                "KeepLargestConnectedComponentd",
                keys="pred",
                applied_labels=list(plan.foreground),
                independent=True,
            )
        )
    save = part(
        "SaveImaged",
        keys="pred",
        output_dir="@output_dir",
        output_postfix="",
        output_dtype="$numpy.uint8" if max(plan.labels) < 256 else "$numpy.uint16",
        resample=False,
        separate_folder=False,
    )
    return [*steps, save]
