"""Data preparation as a flow of its own."""

from typing import Any

from prefect import flow

from flows.run import Config, run_name, run_stages


@flow(name="prepare", flow_run_name=run_name, persist_result=False)
def prepare(
    config: Config, names: list[str] | None = None, force: bool = False, verify: bool = False, strict: bool = False
) -> list[dict[str, Any]]:
    """Prepare the training questions; what they depend on is made where it is missing.

    Args:
        config: The pipeline, or the path of a TOML file that holds one.
        names: Only these: "data.NAME". All of them where None.
        force: Make them again although the store holds them.
        verify: Hash every stored file again before it is reused.
        strict: Stop at the first malformed row of training data.
    """
    return run_stages(config, tuple(names or ("data",)), force, None, verify, strict)
