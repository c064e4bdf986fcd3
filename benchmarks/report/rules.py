"""What protocols say about a benchmark, in the form in which the report compares them."""

from benchmarks.protocols.base import ProtocolConfig, Settings
from benchmarks.published import PublishedTable
from benchmarks.report.inputs import PublishedRules, Rules
from benchmarks.suite import Suite
from hpt_core.prompts.base import PromptConfig


def rules_of(protocol: ProtocolConfig, suite: Suite, settings: Settings) -> Rules:
    """The `settings` of a benchmark under a protocol, with or without overrides."""
    return Rules(
        protocol=protocol.title,
        prompt=prompt_text(settings),
        sampling=settings.sampling,
        max_total_tokens=settings.max_total_tokens,
        k=settings.k,
        counted_from=settings.seed if settings.seeds == "counted" else None,
        dtype=settings.dtype,
        graders=tuple(grader.name for grader in settings.graders),
        covers=not protocol.benchmarks or suite.name in protocol.benchmarks,
    )


def published_rules(table: PublishedTable, suite: Suite, prompt: PromptConfig, seed: int) -> PublishedRules | None:
    """How the table's numbers of a benchmark were measured; None if it has none. `prompt` and `seed` are used if the
    table's protocol has none of its own."""
    if suite.name not in table.benchmarks:
        return None
    protocol: ProtocolConfig = ProtocolConfig.from_value(table.protocol.name)
    rules = rules_of(protocol, suite, protocol.settings(suite, prompt, seed))
    return PublishedRules(**dict(rules), grader=table.protocol.grader, data=table.protocol.data[suite.name])


def prompt_text(settings: Settings) -> str:
    """The prompt component as JSON, with the benchmark's instruction."""
    prompt = settings.prompt.model_dump_json()
    return prompt if settings.instruction is None else f"{prompt} with the instruction {settings.instruction!r}"
