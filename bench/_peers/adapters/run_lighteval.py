"""Run lighteval on local rows through a server: `python -m bench._peers.adapters.run_lighteval SPEC.json`.

lighteval's litellm model uses the chat API. The rows therefore hold the user's turn, and the server's chat template
turns it into the same prompt that the other contestants get. Each benchmark is one task without few-shot examples,
scored like lighteval's math_500 or gpqa:diamond.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

TASKS = """\
from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc


def prompt(line, task_name=None):
    if line["labels"]:
        gold = line["labels"].index(line["answer"])
        return Doc(task_name=task_name, query=line["content"], choices=line["labels"], gold_index=gold)
    return Doc(task_name=task_name, query=line["content"], choices=["ANSWER: " + line["solution"]], gold_index=0)


TASKS_TABLE = [
    LightevalTaskConfig(
        name=name,
        prompt_function=prompt,
        hf_repo=folder,
        hf_subset="default",
        hf_avail_splits=["test"],
        evaluation_splits=["test"],
        generation_size={max_tokens},
        metrics=[
            Metrics.gpqa_instruct_pass_at_k(sample_params={{"k": 1, "n": 1}})
            if name in {choice!r}
            else Metrics.pass_at_k_math(sample_params={{"k": 1, "n": 1}})
        ],
        stop_sequence=[],
    )
    for name, folder in {folders!r}.items()
]
"""


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder = Path(spec["folder"])
    # lighteval caches responses in the current folder and would answer a second round from that cache.
    os.chdir(folder)
    from lighteval.logging.evaluation_tracker import EvaluationTracker
    from lighteval.models.endpoints.litellm_model import LiteLLMClient, LiteLLMModelConfig
    from lighteval.models.model_input import GenerationParameters
    from lighteval.pipeline import ParallelismManager, Pipeline, PipelineParameters
    from lighteval.tasks.registry import Registry

    # lighteval loads all of its own tasks first, and one of them downloads a file. Leave only the local tasks.
    Registry._load_from_files = staticmethod(lambda files, prefix: {})
    Registry._load_from_subdirs = staticmethod(lambda folders: {})

    tasks = folder / "local_tasks.py"
    folders = {f"local_{name}": str(Path(file).parent) for name, file in spec["files"].items()}
    decoding = spec["decoding"]
    choice = [f"local_{name}" for name in spec["choice"]]
    text = TASKS.format(max_tokens=decoding["max_tokens"], folders=folders, choice=choice)
    tasks.write_text(text, encoding="utf-8")
    facts: dict[str, Any] = {"generation": 0.0, "responses": 0}
    generate = LiteLLMClient.greedy_until

    def timed(self: Any, docs: list[Any]) -> list[Any]:
        begun = time.perf_counter()
        answers: list[Any] = generate(self, docs)
        facts["generation"] += time.perf_counter() - begun
        facts["responses"] += sum(bool(answer.text[0]) for answer in answers)
        return answers

    LiteLLMClient.greedy_until = timed
    begun = time.perf_counter()
    pipeline = Pipeline(
        tasks=",".join(f"{name}|0" for name in folders),
        pipeline_parameters=PipelineParameters(
            launcher_type=ParallelismManager.NONE, custom_tasks_directory=str(tasks)
        ),
        evaluation_tracker=EvaluationTracker(output_dir=str(folder / "output")),
        model_config=LiteLLMModelConfig(
            model_name=f"openai/{spec['served_model']}",
            provider="openai",
            base_url=spec["url"],
            api_key=os.environ["OPENAI_API_KEY"],
            concurrent_requests=spec["concurrency"],
            max_model_length=spec["max_model_len"],
            cache_dir=str(folder / "cache"),
            generation_parameters=GenerationParameters(
                temperature=decoding["temperature"],
                top_p=decoding["top_p"],
                max_new_tokens=decoding["max_tokens"],
                seed=0,
            ),
        ),
    )
    pipeline.evaluate()
    facts["evaluation"] = time.perf_counter() - begun
    Path(spec["result"]).write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
