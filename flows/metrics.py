"""Metrics for Prometheus, computed from stores and from Prefect's API each time they are asked for.

`python -m flows.metrics PORT` serves them on the loopback address. Nothing is counted in memory, so a restart loses
nothing; but `hpt gc` lowers the numbers, so every metric is a gauge and not a counter.
"""

import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from hpt_core.artifacts import Manifest, RunRecord, Slot, Store
from hpt_core.errors import ConfigError, HPTError
from hpt_core.loopback import HOST

LOG = logging.getLogger("hpt.metrics")
Stores = Callable[[], Iterable[Path]]
TOKENS = ("tokens", "prompt_tokens")
"""Facts of an artifact that count tokens."""


@dataclass(frozen=True)
class StoredArtifact:
    """What the metrics need of a finished artifact's manifest."""

    kind: str
    size: int
    seconds: float
    cpu_seconds: float
    device_hours: float | None
    energy_kwh: float | None
    money: float | None
    tokens: Counter[str]

    @classmethod
    def of(cls, manifest: Manifest) -> "StoredArtifact":
        """Read a manifest."""
        cost = manifest.cost
        tokens: Counter[str] = Counter()
        for name in TOKENS:
            found = manifest.facts.get(name)
            if isinstance(found, dict):  # a training's, by use
                tokens.update({str(use): int(count) for use, count in found.items()})
            elif isinstance(found, int):
                tokens["prompt" if name == "prompt_tokens" else "sampled"] += found
        return cls(
            manifest.kind,
            manifest.size,
            cost.seconds,
            cost.cpu_seconds,
            cost.device_hours,
            cost.energy_kwh,
            cost.money,
            tokens,
        )


class OneStore:
    """What a store holds. Manifests and records that do not change are read once."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self._artifacts: dict[Path, tuple[int, StoredArtifact | None]] = {}
        self._ended: dict[str, RunRecord] = {}

    def artifacts(self) -> list[StoredArtifact]:
        """The finished artifacts."""
        found: dict[Path, tuple[int, StoredArtifact | None]] = {}
        for slot in self.store.slots():
            try:
                changed = slot.manifest_file.stat().st_mtime_ns
            except OSError:  # not finished, or just removed
                continue
            known = self._artifacts.get(slot.folder)
            found[slot.folder] = known if known and known[0] == changed else (changed, _read(slot))
        self._artifacts = found
        return [artifact for _, artifact in found.values() if artifact]

    def runs(self) -> list[RunRecord]:
        """The recorded runs, without their configs."""
        folder = self.store.history.folder
        self._ended = {name: run for name, run in self._ended.items() if (folder / f"{name}.json").exists()}
        new = [run.model_copy(update={"config": None}) for run in self.store.history.runs(but=self._ended)]
        self._ended |= {run.id: run for run in new if run.end}
        return [*self._ended.values(), *(run for run in new if not run.end)]


def _read(slot: Slot) -> StoredArtifact | None:
    manifest = slot.manifest()
    return StoredArtifact.of(manifest) if manifest else None


class StoreCollector(Collector):
    """Stages, runs, durations and costs, as the stores have recorded them."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._known: dict[Path, OneStore] = {}
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client.registry.Collector."""
        runs = _gauge("hpt_runs", "Runs that are recorded", "store", "pipeline", "outcome")
        stages = _gauge("hpt_stages", "Stages of recorded runs, by state", *_BY_STAGE, "state")
        took = SummaryMetricFamily("hpt_stage_seconds", "Duration of stages that were produced", labels=_BY_STAGE)
        artifacts = _gauge("hpt_artifacts", "Finished artifacts", "store", "kind")
        unmetered = _gauge("hpt_artifacts_without_device_hours", "Those of unknown device-hours", "store", "kind")
        tokens = _gauge("hpt_tokens", "Tokens of the artifacts, by use", "store", "kind", "use")
        sums = {
            "size": _gauge("hpt_artifact_bytes", "Size of the artifacts", "store", "kind"),
            "seconds": _gauge("hpt_artifact_seconds", "Time to produce the artifacts", "store", "kind"),
            "cpu_seconds": _gauge("hpt_cpu_seconds", "CPU time of the artifacts", "store", "kind"),
            "device_hours": _gauge("hpt_device_hours", "Hours of GPUs, or of machines without any", "store", "kind"),
            "energy_kwh": _gauge("hpt_energy_kwh", "Energy of the GPUs", "store", "kind"),
            "money": _gauge("hpt_cost", "Cost in the currency of the config's prices", "store", "kind"),
        }
        with self._lock:
            for root in sorted({root.resolve() for root in self._stores()}):
                one = self._known.setdefault(root, OneStore(root))
                _add_runs(str(root), one.runs(), runs, stages, took)
                stored = one.artifacts()
                for kind in sorted({item.kind for item in stored}):
                    at, every = [str(root), kind], [item for item in stored if item.kind == kind]
                    artifacts.add_metric(at, len(every))
                    unmetered.add_metric(at, sum(item.device_hours is None for item in every))
                    for name, metric in sums.items():
                        values = [value for item in every if (value := getattr(item, name)) is not None]
                        if values:
                            metric.add_metric(at, sum(values))
                    for use, count in sum((item.tokens for item in every), Counter[str]()).items():
                        tokens.add_metric([*at, use], count)
        yield from (runs, stages, took, artifacts, unmetered, tokens, *sums.values())


_BY_STAGE = ("store", "pipeline", "kind")


def _add_runs(
    store: str, found: list[RunRecord], runs: GaugeMetricFamily, stages: GaugeMetricFamily, took: SummaryMetricFamily
) -> None:
    for (pipeline, outcome), count in Counter((run.pipeline, run.outcome) for run in found).items():
        runs.add_metric([store, pipeline, outcome], count)
    states: Counter[tuple[str, str, str]] = Counter()
    seconds: dict[tuple[str, str], list[float]] = {}
    for run in found:
        for key, stage in run.stages.items():
            kind = key.partition(".")[0]
            # A stage that was begun is over if its run is.
            state = run.outcome if stage.what == "started" else stage.what
            states[run.pipeline, kind, state] += 1
            if stage.what == "made":
                seconds.setdefault((run.pipeline, kind), []).append(stage.seconds)
    for (pipeline, kind, state), count in states.items():
        stages.add_metric([store, pipeline, kind, state], count)
    for (pipeline, kind), values in seconds.items():
        took.add_metric([store, pipeline, kind], len(values), sum(values))


class PrefectCollector(Collector):
    """Runs on the Prefect server that have not ended, by work pool and state."""

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client.registry.Collector."""
        up = _gauge("hpt_prefect_up", "Whether the Prefect server answers")
        queue = _gauge("hpt_queue", "Runs of a work pool that have not ended", "pool", "state")
        try:
            for pool, state, count in _queue():
                queue.add_metric([pool, state], count)
            up.add_metric([], 1)
        except Exception as error:  # the server is away; its client raises many types
            LOG.warning("the Prefect server does not answer: %s", type(error).__name__)
            up.add_metric([], 0)
        yield from (up, queue)


def _queue() -> Iterator[tuple[str, str, int]]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateName,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType

    late = FlowRunFilterStateName(any_=["Late"])
    states = {
        "late": FlowRunFilterState(name=late),
        "scheduled": FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]), name=FlowRunFilterStateName(not_any_=["Late"])
        ),
        **{
            kind.value.lower(): FlowRunFilterState(type=FlowRunFilterStateType(any_=[kind]))
            for kind in (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
        },
    }
    with get_client(sync_client=True) as client:
        for pool in client.read_work_pools():
            of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool.name]))
            for state, wanted in states.items():
                found = client.count_flow_runs(flow_run_filter=FlowRunFilter(state=wanted), work_pool_filter=of_pool)
                yield pool.name, state, found


def deployed_stores() -> list[Path]:
    """The stores of the pipelines that are deployed on the Prefect server."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    from flows.deploy import TAG
    from flows.load import load_config

    with get_client(sync_client=True) as client:
        tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
        deployments = client.read_deployments(deployment_filter=tagged, limit=200)
    found: dict[Path, None] = {}
    for folder, config, overrides in sorted(
        {
            (str(d.job_variables["working_dir"]), str(d.parameters["config"]), tuple(d.parameters.get("set") or ()))
            for d in deployments
            if "working_dir" in d.job_variables and isinstance(d.parameters.get("config"), str)
        }
    ):
        try:
            found[(Path(folder) / load_config(Path(config), overrides).store).resolve()] = None
        except HPTError as error:
            LOG.warning("the store of %s is unknown: %s", config, error)
    return list(found)


def _known_stores() -> list[Path]:
    """The deployed stores; none while the server is away, which `hpt_prefect_up` shows."""
    try:
        return deployed_stores()
    except Exception as error:
        LOG.warning("the deployments cannot be read: %s", type(error).__name__)
        return []


def registry(stores: Stores, server: bool) -> CollectorRegistry:
    """The metrics of these stores and, if wanted, of the Prefect server at PREFECT_API_URL."""
    found = CollectorRegistry(auto_describe=False)
    found.register(StoreCollector(stores))
    if server:
        found.register(PrefectCollector())
    return found


def text(stores: Stores, server: bool) -> str:
    """The metrics in Prometheus' text format."""
    return generate_latest(registry(stores, server)).decode()


def _gauge(name: str, what: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, labels=labels)


def main(arguments: list[str]) -> None:
    """Serve the metrics until the process is ended."""
    from flows.server import prepare_environment
    from hpt_core import logs

    prepare_environment()
    handler = logging.StreamHandler()
    handler.setFormatter(logs.formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if len(arguments) != 1 or not arguments[0].isdecimal():
        raise ConfigError("expected one argument: the port", "python -m flows.metrics PORT")
    _, thread = start_http_server(int(arguments[0]), HOST, registry(_known_stores, server=True))
    thread.join()


if __name__ == "__main__":
    main(sys.argv[1:])
