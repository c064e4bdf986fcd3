"""The whole pipeline as a Prefect flow."""

from typing import Any

from prefect import flow

from flows.run import Config, run_name, run_stages


@flow(name="pipeline", flow_run_name=run_name, persist_result=False)
def pipeline(
    config: Config,
    force: bool = False,
    from_stage: str | None = None,
    verify: bool = False,
    strict: bool = False,
) -> list[dict[str, Any]]:
    """Prepare data, train, evaluate, report, publish: what the store holds is skipped.

    Args:
        config: The pipeline, or the path of a TOML file that holds one.
        force: Make every stage again.
        from_stage: Make this stage ("train.hpt", "evaluate") and all that follows from it again.
        verify: Hash every stored file again before it is reused.
        strict: Stop at the first malformed row of training data.
    """
    return run_stages(config, (), force, from_stage, verify, strict)
