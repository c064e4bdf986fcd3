"""Data preparation: kept rows, dropped rows with reasons, and the report."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core import schemas
from hpt_core.data import prepare, steps
from hpt_core.data.config import DataConfig, Room
from hpt_core.data.decontaminate import OverlapIndex
from hpt_core.data.prepare import PrepareSpec
from hpt_core.data.report import REASONS, RowCounts, spread
from hpt_core.data.sources import jsonl
from hpt_core.data.sources.base import MalformedRow, SourceRow
from hpt_core.data.tokens import TokenCounter
from hpt_core.errors import DataError, ModelError
from hpt_core.models.scratch import byte_tokenizer
from hpt_core.prompts import plain
from hpt_core.verifiers.pool import VerifierPool

COUNTER = TokenCounter(plain.PlainText(template="{question}", instruction=""), byte_tokenizer(256))
"""One token a byte, and one BOS."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool(1) as found:
        yield found


def config(**changes: Any) -> DataConfig:
    return DataConfig(source=jsonl.JSONLines(file=Path("rows.jsonl")), **changes)


def row(
    number: int, question: str, gold: str = "2", demonstration: str | None = "\\boxed{2}", **changes: Any
) -> SourceRow:
    return SourceRow(f"row {number}", "", question, gold, "math", demonstration, "")._replace(**changes)


def preparation(settings: DataConfig, overlaps: OverlapIndex | None = None, **options: Any) -> steps.Preparation:
    return steps.Preparation(settings, COUNTER, overlaps or OverlapIndex(settings.ngram), **options)


def kept_of(made: steps.Preparation, *chunks: list[Any]) -> list[steps.Candidate]:
    return [question for chunk in made.keep(chunks) for question in chunk]


def dropped(tally: RowCounts) -> dict[str, int]:
    return {reason: count for reason, count in tally.report()["dropped"].items() if count}


def spec(folder: Path, model: Path, rows: list[Any], **changes: Any) -> PrepareSpec:
    """The spec for rows written as JSON lines."""
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{r if isinstance(r, str) else json.dumps(r)}\n" for r in rows))
    fields: dict[str, Any] = {"unverified": "keep", **changes.pop("config", {})}
    return PrepareSpec(
        config=DataConfig(source=jsonl.JSONLines(file=path), **fields),
        prompt=changes.pop("prompt", plain.PlainText()),
        model=model,
        output=folder / "out",
        workers=1,
        **changes,
    )


def test_texts_are_normalized() -> None:
    assert steps.normalize(" \tCafe\u0301 \r\n  x \r y\n\n") == "Café\n  x\n y"
    assert steps.question_key("a  b\n c") == steps.question_key(" a b c")
    assert steps.question_key("a b") != steps.question_key("A b")


def test_each_reason_lists_its_rows(pool: VerifierPool) -> None:
    overlaps = OverlapIndex(3)
    overlaps.add("aime24", "q7", "Find the sum of all bases")
    rows: list[SourceRow | MalformedRow] = [
        row(1, "What is 1 + 1?"),
        MalformedRow("row 2", "not JSON"),
        row(3, "What is\t1 +  1?"),
        row(4, "No demonstration?", demonstration=None),
        row(5, "Please find the SUM, of all"),
        row(6, "x" * 60),
        row(7, "Long?", demonstration="y" * 80 + "\\boxed{2}"),
        row(8, "Gold?", gold="\\frac{1}{"),
        row(9, "Wrong?", demonstration="\\boxed{3}"),
        row(10, "Silent?", demonstration="I do not know."),
        row(11, "", demonstration=None),
        row(12, "Second?"),
        row(13, "Third?"),
    ]
    settings = config(max_prompt_tokens=40, max_demonstration_tokens=60, ngram=3, limit=2)
    made = preparation(settings, overlaps, pool=pool)
    kept = kept_of(made, rows)
    assert [q.row.where for q in kept] == ["row 1", "row 12"]
    assert kept[0].prompt_tokens == len("What is 1 + 1?") + 1
    assert kept[0].demonstration_tokens == len("\\boxed{2}") + 1
    assert kept[0].verdict == "correct"
    assert made.full
    report = made.tally.report()
    assert dropped(made.tally) == {
        "malformed": 2,
        "duplicate": 1,
        "no_demonstration": 1,
        "contaminated": 1,
        "prompt_too_long": 1,
        "demonstration_too_long": 1,
        "gold_error": 1,
        "unverified_incorrect": 1,
        "unverified_no_answer": 1,
        "over_limit": 1,
    }
    assert report["rows_read"] == 13
    assert report["contaminated_by"] == {"aime24": 1}
    assert report["demonstration_verdicts"] == {"correct": 3, "incorrect": 1, "no_answer": 1}
    places = report["places"]
    assert places["malformed"] == [
        {"where": "row 2", "detail": "not JSON"},
        {"where": "row 11", "detail": "the question is empty"},
    ]
    assert places["duplicate"] == [{"where": "row 3", "detail": "of row 1"}]
    assert places["contaminated"] == [{"where": "row 5", "detail": "aime24 q7"}]
    assert places["prompt_too_long"] == [{"where": "row 6", "detail": "61 tokens"}]
    assert places["unverified_incorrect"] == [{"where": "row 9", "detail": "'3' against '2'"}]


def test_flag_keeps_the_verdict_and_keep_does_not_verify(pool: VerifierPool) -> None:
    rows = [
        row(1, "Wrong?", demonstration="\\boxed{3}"),
        row(2, "Right?"),
        row(3, "None?", demonstration=None),
        row(4, "Gold?", gold="\\frac{1}{", demonstration=None),
    ]
    flagged = preparation(config(unverified="flag", demonstrations="optional"), pool=pool)
    assert [(q.row.where, q.verdict) for q in kept_of(flagged, rows)] == [
        ("row 1", "incorrect"),
        ("row 2", "correct"),
        ("row 3", None),
    ]
    assert dropped(flagged.tally) == {"gold_error": 1}
    (place,) = flagged.tally.report()["places"]["gold_error"]
    assert place == {"where": "row 4", "detail": "'\\\\frac{1}{': brackets that do not match"}
    kept = kept_of(preparation(config(unverified="keep", demonstrations="optional")), rows)
    assert [(q.row.where, q.verdict) for q in kept] == [(f"row {i}", None) for i in range(1, 5)]


def test_choices_are_verified_by_letter(pool: VerifierPool) -> None:
    made = preparation(config(), pool=pool)
    rows = [
        row(1, "Which?", gold="B", kind="choice", demonstration="The answer is (B)."),
        row(2, "Which one?", gold="B", kind="choice", demonstration="\\boxed{C}"),
        row(3, "Which two?", gold="Berlin", kind="choice", demonstration="\\boxed{C}"),
    ]
    assert [q.row.where for q in kept_of(made, rows)] == ["row 1"]
    assert dropped(made.tally) == {"gold_error": 1, "unverified_incorrect": 1}


def test_ids_are_stable_and_clashing_ones_are_named() -> None:
    made = preparation(config(unverified="keep"))
    rows = [row(1, "One?", question_id="a"), row(2, "Two?", question_id="a"), row(3, " Three? "), row(4, "X \ud83d")]
    first, second = kept_of(made, rows)
    assert first.row.question_id == "a"
    assert second.row.question_id == steps.question_key("Three?")[:16]
    assert [place["detail"] for place in made.tally.report()["places"]["malformed"]] == [
        "its id 'a' is also the id of row 1",
        "it contains an unpaired surrogate",
    ]


def test_rows_that_exceed_the_models_context_are_dropped_and_counted() -> None:
    # The prompt has one token more than the question; the demonstration, with its EOS token, has ten.
    rows = [row(1, "q" * 9), row(2, "q" * 10), row(3, "r" * 14, demonstration=None)]
    trained_on = {
        Room(context=20): ["row 1", "row 3"],
        Room(context=20, response=10): ["row 1"],
        Room(context=20, response=5, demonstrations=False): ["row 1", "row 2", "row 3"],
        Room(context=30, response=16, demonstrations=False): ["row 1", "row 2"],
    }
    for room, expected in trained_on.items():
        made = preparation(config(unverified="keep", demonstrations="optional"), room=room)
        assert [q.row.where for q in kept_of(made, rows)] == expected, room
        assert made.tally.report()["dropped"]["over_context"] == 3 - len(expected)
    made = preparation(config(unverified="keep", demonstrations="optional"), room=Room(context=20, response=10))
    kept_of(made, rows)
    assert made.tally.report()["places"]["over_context"] == [
        {"where": "row 2", "detail": "prompt and demonstration take 21 tokens, the context is 20"},
        {"where": "row 3", "detail": "prompt and longest response take 25 tokens, the context is 20"},
    ]


def test_strict_stops_at_the_first_malformed_row() -> None:
    with pytest.raises(DataError, match=r"row 2 is malformed: not JSON.*leave out --strict"):
        kept_of(
            preparation(config(unverified="keep"), strict=True), [row(1, "One?"), MalformedRow("row 2", "not JSON")]
        )


_ROWS = st.one_of(
    st.builds(MalformedRow, st.just("w"), st.text(max_size=3)),
    st.builds(
        SourceRow,
        where=st.just("w"),
        question_id=st.sampled_from(["", "", "a", "b"]),
        question=st.text("ab \n", max_size=8),
        gold=st.sampled_from(["1", " ", "2"]),
        kind=st.just("math"),
        demonstration=st.one_of(st.none(), st.text("xy ", max_size=8)),
        family=st.just(""),
    ),
)


@given(
    chunks=st.lists(st.lists(_ROWS, max_size=8), max_size=4),
    limit=st.one_of(st.none(), st.integers(1, 6)),
    tokens=st.integers(1, 10),
    demonstrations=st.sampled_from(["required", "optional"]),
)
@settings(max_examples=200, deadline=None)
def test_the_report_adds_up(
    chunks: list[list[SourceRow | MalformedRow]], limit: int | None, tokens: int, demonstrations: Any
) -> None:
    settings = config(
        unverified="keep",
        limit=limit,
        max_prompt_tokens=tokens,
        max_demonstration_tokens=tokens,
        demonstrations=demonstrations,
        ngram=2,
    )
    overlaps = OverlapIndex(2)
    overlaps.add("bench", "1", "ab ba")
    made = preparation(settings, overlaps)
    kept = kept_of(made, *chunks)
    report = made.tally.report()
    # Reading stops with the chunk that reaches the limit.
    assert report["rows_read"] == sum(map(len, chunks)) or (made.full and report["rows_read"] < sum(map(len, chunks)))
    assert report["contaminated_by"].get("bench", 0) == report["dropped"]["contaminated"]
    assert report["rows_read"] == report["rows_kept"] + sum(report["dropped"].values())
    assert report["rows_kept"] == len(kept) <= (limit or len(kept))
    assert set(report["dropped"]) == set(REASONS)
    assert len({q.row.question_id for q in kept}) == len(kept)
    assert all(q.prompt_tokens <= tokens and (q.demonstration_tokens or 0) <= tokens for q in kept)
    assert (report["prompt_tokens"] or {"count": 0})["count"] == len(kept)


def test_spread_of_token_counts() -> None:
    assert spread([]) is None
    assert spread(range(1, 101)) == {
        "count": 100, "total": 5050, "min": 1, "mean": 50.5, "p50": 50, "p95": 96, "max": 100
    }  # fmt: skip
    assert spread([7]) == {"count": 1, "total": 7, "min": 7, "mean": 7.0, "p50": 7, "p95": 7, "max": 7}


def test_the_files_are_whole_and_of_the_schema(tiny_model: Path, tmp_path: Path, capsys: Any) -> None:
    rows = [{"question": f"What is {i}?", "answer": i, "demonstration": f"\\boxed{{{i}}}"} for i in range(600)]
    prepare.run(spec(tmp_path, tiny_model, rows, config={"limit": 300}))
    table = pq.read_table(tmp_path / "out" / "prepared.parquet")
    assert table.schema.equals(schemas.PREPARED)
    assert table["question"].to_pylist() == [f"What is {i}?" for i in range(300)]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["rows_read"] == 512
    assert report["dropped"]["over_limit"] == 212
    assert report["example_prompt"].startswith("Question:\nWhat is 0?\nPlease reason step by step")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["prepared.parquet", "report.json"]
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    # A JSON Lines file has no known number of rows.
    progress = [(e["done"], e["total"], e["text"]) for e in events]
    assert progress == [(256, 0, "256 of 256 kept"), (512, 0, "300 of 512 kept")]


def test_a_very_long_row_takes_no_longer_than_its_beginning(tiny_model: Path, tmp_path: Path) -> None:
    long = "Let x be the number of apples. " * 330_000  # ten million characters, as many tokens
    rows = [
        {"question": long, "answer": 1, "demonstration": "\\boxed{1}"},
        {"question": "a", "answer": 1, "demonstration": long},
        {"question": "b", "answer": 1, "demonstration": "\\boxed{1}"},
    ]
    started = time.process_time()
    prepare.run(spec(tmp_path, tiny_model, rows))
    assert time.process_time() - started < 30
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {reason: n for reason, n in report["dropped"].items() if n} == {
        "prompt_too_long": 1,
        "demonstration_too_long": 1,
    }
    assert report["places"]["prompt_too_long"][0]["detail"] == "more than 2048 tokens"
    assert report["places"]["demonstration_too_long"][0]["detail"] == "more than 16384 tokens"


def test_long_rows_are_prepared_in_smaller_chunks() -> None:
    made = [row(i, "q", demonstration="d" * 3_000_000) for i in range(7)] + [MalformedRow("w", "r")] * 600
    assert [len(chunk) for chunk in prepare.split(made)] == [3, 3, 256, 256, 89]
    assert [r for chunk in prepare.split(made) for r in chunk] == made


def test_the_same_rows_give_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"question": f"What is {i}?", "answer": i, "demonstration": f"\\boxed{{{i}}}"} for i in range(30)]
    written = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        prepare.run(spec(tmp_path / name, tiny_model, rows))
        written.append((tmp_path / name / "out" / "prepared.parquet").read_bytes())
    assert written[0] == written[1]


def test_no_rows_left_names_the_reason_and_leaves_no_file(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"question": "a b c d e", "answer": 1, "demonstration": "x"}, {"question": "f", "answer": 1}, "{"]
    rows.append({"question": "g h i j k", "answer": 1, "demonstration": "x"})
    with pytest.raises(DataError) as caught:
        prepare.run(spec(tmp_path, tiny_model, rows, config={"max_prompt_tokens": 3}))
    assert "no question is left: 2 of 4 were dropped as prompt_too_long (first: " in str(caught.value)
    assert "raise max_prompt_tokens" in str(caught.value)
    assert "report.json" not in "".join(REASONS.values())  # it is not written then
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(DataError, match=r"rows\.jsonl: there are no rows"):
        prepare.run(spec(tmp_path, tiny_model, []))


def test_wrong_inputs_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"question": "a", "answer": 1, "demonstration": "x"}]
    wrong = spec(tmp_path, tiny_model, rows, benchmarks={"aime24": tmp_path / "rows.jsonl"})
    with pytest.raises(DataError, match="the questions of aime24 cannot be read"):
        prepare.run(wrong)
    with pytest.raises(ModelError):
        prepare.run(spec(tmp_path, tmp_path / "nowhere", rows))
    missing = spec(tmp_path, tiny_model, rows)
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(DataError, match="there is no file"):
        prepare.run(missing)


def questions_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    records = [
        {"question_id": str(i), "question": r["prompt"], "gold": r["answer"], "kind": "math", "family": ""}
        for i, r in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(records, schemas.QUESTIONS), path)
    return path


@pytest.mark.slow
def test_gsm8k_against_the_eight_benchmarks(shared_data: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Real questions with every fault planted among them; the counts are exactly those of what was planted."""
    names = ("aime24", "aime25", "amc23", "arc_challenge", "gpqa_diamond", "math500", "minerva", "olympiadbench")
    benchmarks = {name: json.loads((shared_data / "benchmarks" / f"{name}.json").read_text()) for name in names}
    paths = {name: questions_parquet(tmp_path / f"{name}.parquet", rows) for name, rows in benchmarks.items()}
    table = pq.read_table(shared_data / "train" / "gsm8k_demos.parquet")
    rows = table.slice(0, 300).to_pylist()
    rng = random.Random(0)
    planted = {name: rng.choice(found)["prompt"] for name, found in sorted(benchmarks.items())}
    for number, question in enumerate(planted.values()):
        rows[10 + number]["prompt"] = [{"role": "user", "content": question.upper()}]
    rows[50]["prompt"] = rows[49]["prompt"]
    rows[51]["reward_model"]["ground_truth"] = "123456"
    rows[52]["reward_model"]["ground_truth"] = "\\frac{1}{"
    rows[53]["prompt"] = []
    rows[54]["target"] = []
    data = tmp_path / "data" / "train"
    data.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), data / "gsm8k_demos.parquet")
    folder = Path(__file__).resolve().parents[3] / "models" / "smollm2-135m"
    written = {
        "config": {"source": "gsm8k"},
        "prompt": "chat",
        "model": str(folder if folder.is_dir() else tiny_model),
        "benchmarks": {name: str(path) for name, path in paths.items()},
        "data_dir": str(tmp_path / "data"),
        "output": str(tmp_path / "out"),
    }
    (tmp_path / "spec.json").write_text(json.dumps(written))
    command = [sys.executable, "-m", "hpt_core.data.prepare", str(tmp_path / "spec.json")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["contaminated_by"] == dict.fromkeys(benchmarks, 1)
    found = {reason: count for reason, count in report["dropped"].items() if count}
    assert found == {
        "malformed": 1,
        "duplicate": 1,
        "no_demonstration": 1,
        "contaminated": 8,
        "gold_error": 1,
        "unverified_incorrect": 1,
    }
    assert report["rows_kept"] == 300 - 13
    assert [place["where"].rsplit(" ", 1)[-1] for place in report["places"]["malformed"]] == ["54"]
    assert not any(question in json.dumps(report) for question in planted.values())
    kept = pq.read_table(tmp_path / "out" / "prepared.parquet")
    assert set(kept["demonstration_verdict"].to_pylist()) == {"correct"}
    assert report["prompt_tokens"]["max"] == max(kept["prompt_tokens"].to_pylist())

    written["strict"] = True
    (tmp_path / "spec.json").write_text(json.dumps({**written, "output": str(tmp_path / "strict")}))
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 2
    assert "gsm8k_demos.parquet row 54 is malformed: prompt must hold one message" in done.stdout.splitlines()[-1]
    assert list((tmp_path / "strict").iterdir()) == []
