"""Run lm-evaluation-harness on local rows: `python -m bench._peers.adapters.run_lm_eval SPEC.json`.

Each benchmark is one task: a JSON file, the rendered prompt, no few-shot examples. Math is scored like the minerva_math
tasks (exact match and Math-Verify), multiple choice like gpqa_diamond_cot_zeroshot. The model is `vllm` in this
process, or `local-completions` through a server.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager
from lm_eval.tasks.minerva_math import utils as _  # noqa: F401  (load the scoring code before the clock starts, as ours is)

TASK = """\
task: {task}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {file}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
num_fewshot: 0
generation_kwargs:
  until: []
  do_sample: {sampled}
  temperature: {temperature}
  top_p: {top_p}
  max_gen_toks: {max_tokens}
{scorer}
metadata:
  version: 1
"""
MATH = """\
process_docs: !function scorers.process_docs
process_results: !function scorers.process_results
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
  - {metric: math_verify, aggregation: mean, higher_is_better: true}"""
CHOICE = """\
filter_list:
  - name: strict-match
    filter: [{function: regex, regex_pattern: "(?<=The answer is )(.*)(?=.)"}, {function: take_first}]
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true, ignore_punctuation: true}"""
SCORERS = "from lm_eval.tasks.minerva_math.utils import process_docs, process_results  # noqa: F401\n"


def write_tasks(folder: Path, spec: dict[str, Any]) -> list[str]:
    """Write one task file per benchmark, and return the names of the tasks."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scorers.py").write_text(SCORERS, encoding="utf-8")
    names = []
    for benchmark, file in spec["files"].items():
        name = f"local_{benchmark}"
        scorer = CHOICE if benchmark in spec["choice"] else MATH
        text = TASK.format(
            scorer=scorer,
            task=name,
            file=json.dumps(file),
            sampled=str(spec["decoding"]["temperature"] > 0).lower(),
            **spec["decoding"],
        )
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        names.append(name)
    return names


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tasks = write_tasks(Path(spec["folder"]) / "tasks", spec)
    facts: dict[str, Any] = {"responses": 0, "tokens": 0, "prompt_tokens": 0, "generation": 0.0, "cpu": 0.0}
    model = get_model(spec["kind"])(**spec["model_args"])
    if spec["kind"] == "vllm":
        _count_tokens(model.model, facts)
    generate = model.generate_until

    def timed(requests: list[Any], *arguments: Any, **options: Any) -> list[str]:
        begun, used = time.perf_counter(), time.process_time()
        texts: list[str] = generate(requests, *arguments, **options)
        facts["generation"] += time.perf_counter() - begun
        facts["cpu"] += time.process_time() - used
        facts["responses"] += len(texts)
        return texts

    model.generate_until = timed
    begun = time.perf_counter()
    manager = TaskManager(include_path=spec["folder"] + "/tasks", include_defaults=False)
    simple_evaluate(model=model, tasks=tasks, task_manager=manager, log_samples=True)
    facts["evaluation"] = time.perf_counter() - begun
    Path(spec["result"]).write_text(json.dumps(facts), encoding="utf-8")


def _count_tokens(engine: Any, facts: dict[str, Any]) -> None:
    """Count the tokens that vllm.LLM returns."""
    generate = engine.generate

    def counted(*arguments: Any, **options: Any) -> Any:
        outputs = generate(*arguments, **options)
        facts["tokens"] += sum(len(output.outputs[0].token_ids) for output in outputs)
        facts["prompt_tokens"] += sum(len(output.prompt_token_ids) for output in outputs)
        return outputs

    engine.generate = counted


if __name__ == "__main__":
    main()
