"""A model's own sampling options, from its generation_config.json. They are used only on request."""

import logging
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hpt_core.errors import ModelError
from hpt_core.evaluation.spec import SampleSpec, SampleUnit
from hpt_core.model_folder import read_object
from hpt_core.rollout.base import Sampling

logger = logging.getLogger("hpt.evaluation.sample")

FILE = "generation_config.json"
FIELDS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
"""Fields of Sampling that the file may hold, under the same names."""


def with_own_sampling(spec: SampleSpec) -> SampleSpec:
    """The spec with the model's own options in the units that ask for them. Raises ModelError if it has none."""
    if not any(unit.from_model for unit in spec.units):
        return spec
    path, own = spec.model / FILE, read_options(spec.model)
    logger.info("sampling options of %s: %s", path, own or "none")
    try:
        return spec.model_copy(update={"units": tuple(_with(unit, own) for unit in spec.units)})
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(
            f"{path}: {'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}",
            "correct the file, or set the field in [evaluate]",
        ) from error


def read_options(model: Path) -> dict[str, Any]:
    """The options of the model in a folder. Raises ModelError if it has no generation_config.json."""
    path = model / FILE
    if not path.is_file():
        raise ModelError(f"{path} does not exist", "set evaluate.generation_config = false, or add the file")
    return options(read_object(path))


def options(config: dict[str, Any]) -> dict[str, Any]:
    """The options in a generation_config.json, in our terms. `do_sample` false means temperature 0, whatever else it
    says; if it is absent, the other options count."""
    found = {name: config[name] for name in FIELDS if config.get(name) is not None}
    if found.get("top_k") == -1:
        found["top_k"] = 0
    if config.get("do_sample") is False:
        found["temperature"] = 0.0
    return found


def _with(unit: SampleUnit, own: dict[str, Any]) -> SampleUnit:
    taken = {name: value for name, value in own.items() if name in unit.from_model}
    return unit.model_copy(update={"sampling": Sampling.model_validate({**dict(unit.sampling), **taken})})
