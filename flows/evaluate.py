"""Evaluation as a flow of its own."""

from typing import Any

from prefect import flow

from flows.run import Config, run_name, run_stages


@flow(name="evaluate", flow_run_name=run_name, persist_result=False)
def evaluate(
    config: Config,
    names: list[str] | None = None,
    force: bool = False,
    verify: bool = False,
    strict: bool = False,
    regrade: bool = False,
) -> list[dict[str, Any]]:
    """Sample and grade; what this depends on is made where it is missing.

    Args:
        config: The pipeline, or the path of a TOML file that holds one.
        names: Only these: "evaluate.NAME". All of them where None.
        force: Make them again although the store holds them.
        verify: Hash every stored file again before it is reused.
        strict: Stop at the first malformed row of training data.
        regrade: Grade the stored samples again and draw none; samples that are not there are an error.
    """
    return run_stages(config, tuple(names or ("evaluate",)), force, None, verify, strict, regrade=regrade)
