"""Made training data of the paper's size: questions with long demonstrations, in the schema of Openr1-Math-46k.

A demonstration is a sequence of sentences with made words, numbers and formulas. Words follow Zipf's law over more
different ones than a tokenizer caches, as words of real text do. The same seed gives the same rows.
"""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.speed.answers import SENTENCES
from hpt_core.prompts.base import THINK

WORDS = 30_000
POOL = 20_000
"""Different sentences."""
GROUP_ROWS = 1_000
CHARACTERS = 2.6
"""Characters of this text in one token of SmolLM2."""
SYLLABLES = (
    "ba",
    "con",
    "de",
    "fir",
    "gra",
    "ho",
    "in",
    "ka",
    "lem",
    "mi",
    "nu",
    "or",
    "pre",
    "qua",
    "ri",
    "sta",
    "ter",
)


def write(path: Path, rows: int, tokens: int, seed: int) -> None:
    """Write `rows` rows, whose demonstrations have about `tokens` tokens each."""
    generator = random.Random(seed)
    pool = _sentences(generator)
    made = (_row(number, int(tokens * CHARACTERS), pool, generator) for number in range(rows))
    with pq.ParquetWriter(path, _table([_row(0, 1, pool, random.Random(seed))]).schema) as file:
        while group := list(itertools.islice(made, GROUP_ROWS)):
            file.write_table(_table(group))


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows)


def _sentences(generator: random.Random) -> list[str]:
    lengths = (generator.randint(1, 4) for _ in range(WORDS))
    words = ["".join(generator.choices(SYLLABLES, k=length)) for length in lengths]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, WORDS + 1)))
    return [_sentence(generator, words, weights) for _ in range(POOL)]


def _sentence(generator: random.Random, words: list[str], weights: list[float]) -> str:
    n, m = generator.randint(2, 400), generator.randint(2, 400)
    formula = generator.choice(SENTENCES).format(n=n, m=m, s=n + m)
    said = generator.choices(words, cum_weights=weights, k=generator.randint(4, 14))
    return f"{' '.join(said).capitalize()}. {formula}"


def _row(number: int, characters: int, pool: list[str], generator: random.Random) -> dict[str, Any]:
    said = "\n\n".join(_up_to(int(characters * generator.uniform(0.85, 1.15)), pool, generator))
    question = f"Problem {number}: {' '.join(generator.choices(pool, k=2))}"
    return {
        "prompt": [{"role": "user", "content": question}],
        "target": [{"role": "assistant", "content": f"{THINK}{said}\n</think>\nThe answer is \\boxed{{{number}}}."}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": str(number)},
    }


def _up_to(characters: int, pool: list[str], generator: random.Random) -> Iterator[str]:
    while characters > 0:
        sentence = generator.choice(pool)
        characters -= len(sentence) + 2
        yield sentence
