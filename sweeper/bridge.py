"""The bridge to models/: all that the service uses of it. torch is imported when a run is carried out."""

from sweeper.models.atomic import written
from sweeper.models.data import fingerprint, inputs, kept_bytes, load_dataset, published
from sweeper.models.data import task as task_of
from sweeper.models.data.hashes import fingerprint_files
from sweeper.models.data.noise.conditions import check as check_condition
from sweeper.models.data.noise.conditions import effects, levels
from sweeper.models.data.noise.conditions import parameters as condition_parameters
from sweeper.models.data.noise.conditions import parse as parse_condition
from sweeper.models.data.noise.corruptions import CORRUPTIONS
from sweeper.models.maths.metrics import (
    METRICS,
    OF_TASK,
    check_measured,
    check_metric,
    direction,
    full_metric,
    is_share,
    modality_distance,
)
from sweeper.models.maths.planes import neighbours, principal, units
from sweeper.models.pretrained import local, located
from sweeper.models.schema.digest import code_digest
from sweeper.models.schema.entries import Entry, entries, entry
from sweeper.models.schema.fit import check_fusion, check_method, chosen_augmentations, chosen_encoders
from sweeper.models.schema.hooks import hooks_of
from sweeper.models.schema.parameters import REQUIRED, Parameter
from sweeper.models.schema.plugins import find, full_name, installed, origin
from sweeper.models.training import settings
from sweeper.models.training.features import Features, features
from sweeper.models.training.gradcam import Focus, gradcam
from sweeper.models.training.run import Order, check_builds, execute, options_of, uncovered, write_json
from sweeper.models.values import AXES, InputSpec

__all__ = [
    "AXES",
    "CORRUPTIONS",
    "METRICS",
    "OF_TASK",
    "REQUIRED",
    "Entry",
    "Features",
    "Focus",
    "InputSpec",
    "Order",
    "Parameter",
    "check_builds",
    "check_condition",
    "check_fusion",
    "check_measured",
    "check_method",
    "check_metric",
    "chosen_augmentations",
    "chosen_encoders",
    "code_digest",
    "condition_parameters",
    "direction",
    "effects",
    "entries",
    "entry",
    "execute",
    "features",
    "find",
    "fingerprint",
    "fingerprint_files",
    "full_metric",
    "full_name",
    "gradcam",
    "hooks_of",
    "inputs",
    "installed",
    "is_share",
    "kept_bytes",
    "levels",
    "load_dataset",
    "local",
    "located",
    "modality_distance",
    "neighbours",
    "options_of",
    "origin",
    "parse_condition",
    "principal",
    "published",
    "settings",
    "task_of",
    "uncovered",
    "units",
    "write_json",
    "written",
]
