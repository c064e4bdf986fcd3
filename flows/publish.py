"""Publication as a flow of its own."""

from typing import Any

from prefect import flow

from flows.run import Config, run_name, run_stages


@flow(name="publish", flow_run_name=run_name, persist_result=False)
def publish(
    config: Config,
    names: list[str] | None = None,
    force: bool = False,
    verify: bool = False,
    strict: bool = False,
    only_ready: bool = False,
) -> list[dict[str, Any]]:
    """Publish the leaderboard; what it depends on is made where it is missing.

    Args:
        config: The pipeline, or the path of a TOML file that holds one.
        names: Only these: "publish.NAME". All of them where None.
        force: Make them again although the store holds them.
        verify: Hash every stored file again before it is reused.
        strict: Stop at the first malformed row of training data.
        only_ready: Fail where a model is not measured yet, in place of training and measuring it.
    """
    return run_stages(config, tuple(names or ("publish",)), force, None, verify, strict, only_ready)
