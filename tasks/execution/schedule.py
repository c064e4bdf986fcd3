"""When and where a permanent Prefect server runs a pipeline."""

import re
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from hpt_core.base import Frozen

CRON_FIELDS = 5
CRON_FIELD = re.compile(r"[\dA-Za-z*/,?#-]+")


def _check_cron(text: str) -> str:
    fields = text.split()
    if len(fields) != CRON_FIELDS or not all(CRON_FIELD.fullmatch(field) for field in fields):
        raise ValueError(
            f'{text!r} is not a cron expression; write five fields, such as "0 1 * * *" for 01:00 every day'
        )
    return text


def _check_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise ValueError(f'{name!r} is no known time zone; write one such as "UTC" or "Europe/Berlin"') from error
    return name


class ScheduleConfig(Frozen):
    """When and where `hpt deploy` lets a permanent Prefect server run the pipeline; never part of a fingerprint."""

    cron: Annotated[str, AfterValidator(_check_cron)] | None = None
    """When the whole pipeline runs: minute, hour, day of month, month, day of week. None runs it on demand only."""
    timezone: Annotated[str, AfterValidator(_check_timezone)] = "UTC"
    """Time zone of `cron`."""
    pool: str = Field("hpt", min_length=1)
    """Work pool whose workers run the pipeline. A pool that does not exist is created with the type "process"."""
    only: tuple[str, ...] = ()
    """Stages, kinds or globs that the scheduled runs are limited to, with their dependencies. Empty runs everything."""
    set: tuple[str, ...] = ()
    """Fields to override in every run of a deployment: "train.hpt.steps=10"."""
