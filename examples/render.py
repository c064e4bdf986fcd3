"""Render a template of this folder: `python examples/render.py examples/slurm/multinode.sbatch.j2 nodes=4`."""

import sys
from pathlib import Path
from typing import Any

import jinja2

from flows.load import apply, read_file
from hpt_core.errors import ConfigError, HPTError
from hpt_core.plugins import near

VALUES = Path(__file__).with_name("values.toml")


def render(template: Path, overrides: list[str] | None = None) -> str:
    """The template with the values of values.toml and `a.b=c` overrides. Raises ConfigError."""
    values = read_file(VALUES)
    known = _names(values)
    for override in overrides or ():
        name = override.partition("=")[0]
        if name not in known:
            raise ConfigError(f"there is no value {name!r}", near(name, known))
        apply(values, override)
    options = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    try:
        return options.from_string(template.read_text(encoding="utf-8")).render(values)
    except OSError as error:
        raise ConfigError(f"cannot read {template}: {error.strerror}", "give the path of a template") from error


def _names(values: dict[str, Any], prefix: str = "") -> tuple[str, ...]:
    found: list[str] = []
    for name, value in values.items():
        found += _names(value, f"{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return tuple(found)


if __name__ == "__main__":
    try:
        sys.stdout.write(render(Path(sys.argv[1]), sys.argv[2:]))
    except (HPTError, IndexError) as error:
        sys.exit(str(error) if isinstance(error, HPTError) else __doc__)
