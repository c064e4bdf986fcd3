"""The bare engine: every prompt in one call of vllm.LLM.generate. `python -m bench.speed._bare SPEC.json`.

The config of our vllm engine opens it, so the settings are the same. vLLM does everything else.
"""

import json
import sys
import time
from pathlib import Path

from hpt_core.rollout.vllm import VLLM


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    engine = VLLM.model_validate(spec["engine"]).open(Path(spec["model"]), spec["max_model_len"], spec["dtype"], 0)
    from vllm import SamplingParams

    decoding = spec["decoding"]
    sampling = [SamplingParams(**decoding, seed=seed) for seed in spec["seeds"]]
    prompts = [{"prompt_token_ids": ids} for ids in spec["prompt_ids"]]
    begun, used = time.perf_counter(), time.process_time()
    outputs = engine._llm.generate(prompts, sampling, use_tqdm=False)
    seconds = time.perf_counter() - begun
    facts = {
        "cpu": time.process_time() - used,
        "generation": seconds,
        "evaluation": seconds,
        "responses": len(outputs),
        "tokens": sum(len(output.outputs[0].token_ids) for output in outputs),
        "prompt_tokens": sum(len(output.prompt_token_ids) for output in outputs),
    }
    Path(spec["result"]).write_text(json.dumps(facts), encoding="utf-8")
    engine.close()


if __name__ == "__main__":
    main()
