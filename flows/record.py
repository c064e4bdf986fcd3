"""Record a run in its store: what it used, the outcome of each stage, and how it ended."""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import replace

from flows.notify import notify_changes, notify_end
from flows.run import Run
from hpt_core import logs
from hpt_core.artifacts import RunLog, StageRecord
from hpt_core.artifacts.history import Outcome
from hpt_core.errors import HPTError, StoreError
from hpt_core.redact import redact, redacted
from tasks.execution import environment
from tasks.execution.catalog import add_run
from tasks.execution.context import Notice, subscribe

LOG = logging.getLogger("hpt.run")
ENDS = ("made", "reused", "failed", "skipped")
"""Notices after which a stage is over."""


@contextlib.contextmanager
def recorded(run: Run, flow_run: str | None = None) -> Iterator[Run]:
    """The run, with a record in its store. Raises StoreError if the store cannot be written."""
    config = redacted(run.config.model_dump(mode="json", by_alias=True))
    options = redacted(run.options.model_dump(mode="json", exclude_defaults=True))
    log = run.context.store.history.begin(
        run.context.pipeline,
        config,
        options=options,
        git_commit=environment.git_commit(),
        flow_run=flow_run,
    )
    targets = [p.target for p in run.plan.planned if not p.target.provisional]
    log.refer({str(target.key): f"{target.kind}/{target.fingerprint}" for target in targets})
    unsubscribe = subscribe(_Stages(run, log))

    def end(outcome: Outcome, error: str = "") -> None:
        record = log.end(outcome, error)
        tables = add_run(record, run.context.store)
        notify_end(run.config, record, run.context.store)
        if tables is not None:
            notify_changes(run.config, record, run.context.store, tables)

    try:
        with logs.about(pipeline=run.context.pipeline, run=log.record.id):
            yield replace(run, context=replace(run.context, log=log))
    except HPTError as error:
        end("failed", str(error))
        raise
    except Exception as error:
        end("failed", redact(f"{type(error).__name__}: {error}"))
        raise
    except BaseException as error:
        # Ctrl-C, SIGTERM, or a cancellation by Prefect.
        end("interrupted", type(error).__name__)
        raise
    else:
        end("done")
    finally:
        unsubscribe()


class _Stages:
    """Notes the outcome and the duration of each stage."""

    def __init__(self, run: Run, log: RunLog) -> None:
        self._log = log
        self._stages = set(map(str, run.graph))
        self._began: dict[str, float] = {}

    def __call__(self, notice: Notice) -> None:
        if notice.stage not in self._stages:
            return
        now = time.monotonic()
        if notice.stage not in self._began and notice.what not in ENDS:
            self._note(notice.stage, StageRecord(what="started"))
        began = self._began.setdefault(notice.stage, now)
        if notice.what in ENDS:
            text = notice.text if notice.what in ("failed", "skipped") else ""
            self._note(notice.stage, StageRecord(what=notice.what, seconds=round(now - began, 3), text=text))

    def _note(self, stage: str, record: StageRecord) -> None:
        try:
            self._log.note(stage, record)
        except StoreError as error:
            # Observers must not fail. The stage itself will, if the store cannot be written.
            LOG.warning("%s", error)
