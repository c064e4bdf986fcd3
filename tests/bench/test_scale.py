"""What `bench.scale stages` counts."""

from pathlib import Path

from bench import child


def test_it_counts_what_a_stage_asks_of_the_store_and_of_prefect(
    prefect_environment: dict[str, str], tmp_path: Path
) -> None:
    spec = {"folder": str(tmp_path), "stages": 3, "in_worker": False}
    found = child.call("bench.scale._stages", spec, prefect_environment | {"HPT_CACHE": str(tmp_path / "cache")})
    assert all(found["store"].values())
    assert found["asked"]["POST api/flow_runs"] >= 1, "a busy server may be asked again"
    assert found["events"] >= 3
