"""The ten real benchmarks: their local files, and Hub files read through the real Hub client's cache."""

import csv
import json
import re
import shutil
from pathlib import Path

import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.sources.dataset import Dataset
from benchmarks.suite import get_suite
from hpt_core.errors import DataError
from hpt_core.verifiers import get
from hpt_core.verifiers.options import options as options_of

PAPER = {  # rows, k, group: protocol of the paper
    "aime24": (30, 32, "in"),
    "aime25": (30, 32, "in"),
    "amc": (83, 32, "in"),
    "amc23": (40, 32, "in"),
    "math500": (500, 1, "in"),
    "minerva": (272, 1, "in"),
    "olympiadbench": (674, 1, "in"),
    "arc_challenge": (1172, 1, "out"),
    "gpqa_diamond": (198, 1, "out"),
    "mmlu_pro": (12032, 1, "out"),
}
HUB_ROWS: dict[str, list[dict[str, object]]] = {
    "aime24": [{"id": 60, "problem": "What is 2+2?", "solution": "4", "answer": "4", "url": "u", "year": "2024"}],
    "aime25": [{"problem": "What is 3+3?", "answer": 6, "id": "0"}],
    "amc": [{"id": 0, "problem": "What is 1+2?", "answer": 142.0, "url": "u"}],
    "amc23": [{"id": 0, "question": "What is 1+1?", "answer": 27.0, "url": "u"}],
    "math500": [
        {
            "problem": "What is 5+5?",
            "solution": "s",
            "answer": "10",
            "subject": "Counting & Probability",
            "level": 2,
            "unique_id": "test/counting_and_probability/119.json",
        }
    ],
    "minerva": [{"question": "How far?", "answer": "4.5e33"}],
    "olympiadbench": [
        {"id": 1, "question": "Find all $n$.", "final_answer": ["$1$,$2$"], "context": None, "subfield": "Algebra"},
        {"id": 2, "question": "Find $m$.", "final_answer": ["3", "4"], "context": "Let $m>0$.", "subfield": None},
    ],
    "arc_challenge": [
        {
            "id": "Mercury_1",
            "question": "Which is hot?",
            "choices": {"text": ["ice", "fire", "snow"], "label": ["A", "B", "C"]},
            "answerKey": "B",
        },
        {
            "id": "Mercury_2",
            "question": "Which is cold?",
            "choices": {"text": ["ice", "fire", "sun", "lava"], "label": ["1", "2", "3", "4"]},
            "answerKey": "1",
        },
    ],
    "gpqa_diamond": [
        {
            "Question": "Which is prime?",
            "Correct Answer": "7\n",
            "Incorrect Answer 1": "4",
            "Incorrect Answer 2": "6",
            "Incorrect Answer 3": "8",
            "High-level domain": "Physics",
            "Record ID": "r1",
        }
    ],
    "mmlu_pro": [
        {
            "question_id": 70,
            "question": "Which letter is tenth?",
            "options": list("qwertyuiop"),
            "answer": "J",
            "answer_index": 9,
            "cot_content": "",
            "category": "other",
            "src": "s",
        }
    ],
}
HUB_ASKED = {  # (question, gold, family) of each row above
    "aime24": [("What is 2+2?", "4", "")],
    "aime25": [("What is 3+3?", "6", "")],
    "amc": [("What is 1+2?", "142", "")],
    "amc23": [("What is 1+1?", "27", "")],
    "math500": [("What is 5+5?", "10", "counting_and_probability-2")],
    "minerva": [("How far?", "4.5e33", "")],
    "olympiadbench": [("Find all $n$.", "$1$,$2$", "Algebra"), ("Let $m>0$.\n\nFind $m$.", "3, 4", "")],
    "arc_challenge": [
        ("Which is hot?\n\nA) ice\nB) fire\nC) snow", "B", ""),
        ("Which is cold?\n\n1) ice\n2) fire\n3) sun\n4) lava", "1", ""),
    ],
    "gpqa_diamond": [("Which is prime?\n\nA. 6\nB. 7\nC. 8\nD. 4", "B", "physics")],
    "mmlu_pro": [
        (
            "Which letter is tenth?\n\nA) q\nB) w\nC) e\nD) r\nE) t\nF) y\nG) u\nH) i\nI) o\nJ) p",
            "J",
            "other",
        )
    ],
}


def source(name: str) -> Dataset:
    found = get_suite(name).source
    assert isinstance(found, Dataset)
    return found


def put_in_hub_cache(cache: Path, dataset: Dataset, rows: list[dict[str, object]]) -> Path:
    """Lay `rows` out as the Hub client does after a download of the pinned commit."""
    path = cache / f"datasets--{dataset.hub.replace('/', '--')}" / "snapshots" / dataset.revision / dataset.file
    path.parent.mkdir(parents=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty Hub cache, offline."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path


@pytest.mark.parametrize("name", PAPER)
def test_protocol_is_the_papers(name):
    suite = get_suite(name)
    assert (suite.rows, suite.k, suite.group) == PAPER[name]
    assert (suite.sampling.temperature, suite.sampling.top_p, suite.sampling.max_tokens) == (0.6, 0.95, 8192)
    assert (suite.instruction is None) == (suite.kind == "math")
    assert re.fullmatch(r"[0-9a-f]{40}", source(name).revision)


@pytest.mark.parametrize("name", [n for n in PAPER if n != "mmlu_pro"])
def test_local_file_loads_with_the_right_count(name, shared_data, tmp_path):
    suite = get_suite(name)
    if name == "amc" and (lone := shared_data / "amc.json").is_file():
        (tmp_path / "benchmarks").mkdir()
        shutil.copyfile(lone, tmp_path / "benchmarks" / "amc.json")
        shared_data = tmp_path
    questions = suite.load(shared_data)
    assert len(questions) == PAPER[name][0]
    assert {q.kind for q in questions} == {suite.kind}
    assert [q.question_id for q in questions] == [q.question_id for q in suite.load(shared_data)]
    assert suite.source.needs(shared_data) == ""


def test_local_choices_are_labeled_consistently(shared_data):
    arc = get_suite("arc_challenge").load(shared_data)
    labels = [list(options_of(q.question)) for q in arc]
    assert all(q.gold in found for q, found in zip(arc, labels, strict=True))
    assert sum(found[0] == "1" for found in labels) == 22
    assert {len(found) for found in labels} == {3, 4, 5}
    assert all(list(options_of(q.question)) == list("ABCD") for q in get_suite("gpqa_diamond").load(shared_data))


@pytest.mark.parametrize("name", ["arc_challenge", "gpqa_diamond"])
def test_local_options_are_chosen_by_their_text(name, shared_data):
    """Every option of a real question, but those that are labels themselves or stand there twice."""
    missed = []
    for q in get_suite(name).load(shared_data):
        found = options_of(q.question)
        for label, text in found.items():
            unclear = text.upper() in found or list(found.values()).count(text) > 1
            if not unclear and get("choice").extract(f"\\boxed{{{text}}}", q.question) != label:
                missed.append((q.question_id, label))
    assert missed == []


def test_local_answers_of_amc_are_those_of_the_hub(tmp_path):
    rows = [{"prompt": f"q{i}", "answer": "142.0" if i else "0.5"} for i in range(83)]
    write_local(tmp_path, "amc", rows)
    assert [q.gold for q in get_suite("amc").load(tmp_path)] == ["0.5", *["142"] * 82]


def test_math500_takes_the_subject_from_the_id(shared_data):
    families = {q.family for q in get_suite("math500").load(shared_data)}
    assert len(families) == 7
    assert "counting_and_probability" in families


@pytest.mark.parametrize("name", PAPER)
def test_hub_file_is_read_through_the_hub_client(name, hub_cache):
    put_in_hub_cache(hub_cache, source(name), HUB_ROWS[name])
    questions = source(name).read(None)
    assert [(q.question, q.gold, q.family) for q in questions] == HUB_ASKED[name]


def test_arc_reads_the_same_from_the_hub_layout_as_from_the_local_file(shared_data, hub_cache):
    local = get_suite("arc_challenge").load(shared_data)
    rows = []
    for q in local:
        labels = list(options_of(q.question))
        stem, _, rest = q.question.rpartition(f"\n\n{labels[0]}) ")
        options = re.split(r"\n(?:[A-E]|[1-5])\) ", rest)
        rows.append({"question": stem, "choices": {"text": options, "label": labels}, "answerKey": q.gold})
    put_in_hub_cache(hub_cache, source("arc_challenge"), rows)
    assert get_suite("arc_challenge").load(None) == local


def test_hub_without_network_says_what_to_do(hub_cache):
    with pytest.raises(DataError, match=r"HuggingFaceH4/aime_2024 at 2fe88a2f.*benchmarks/aime24\.json"):
        source("aime24").read(None)


def test_needs_names_the_hub_and_its_terms():
    assert "math-ai/aime25" in source("aime25").needs(None)
    assert "terms accepted" in source("gpqa_diamond").needs(None)


def test_missing_local_file_names_path_and_remedy(tmp_path):
    with pytest.raises(DataError, match=r"benchmarks/mmlu_pro\.json is missing.*TIGER-Lab/MMLU-Pro from the Hub"):
        get_suite("mmlu_pro").load(tmp_path)
    assert "mmlu_pro.json" in source("mmlu_pro").needs(tmp_path)
    with pytest.raises(DataError, match="is missing"):
        source("mmlu_pro").content(tmp_path)


def test_row_count_that_differs_names_both_numbers(tmp_path):
    write_local(tmp_path, "aime24", [{"prompt": "Why?", "answer": "1"}])
    with pytest.raises(DataError, match=r"aime24 has 1 rows where 30 are expected"):
        get_suite("aime24").load(tmp_path)


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("aime24", [{"prompt": "a", "answer": "1"}, {"prompt": "b"}], r"aime24\.json row 2 has no field 'answer'"),
        ("aime24", [{"prompt": "a", "answer": None}], r"row 1 field 'answer' is nothing where text"),
        ("aime24", [{"prompt": " ", "answer": "1"}], r"row 1 field 'prompt' is empty"),
        ("aime24", [["a", "1"]], r"row 1 is a list where an object is expected"),
        ("aime24", [{"prompt": "a", "answer": float("nan")}], r"row 1 field 'answer' is NaN, which is not a number"),
        ("aime24", [{"prompt": "a", "answer": ["1", "2"]}], r"row 1 field 'answer' is a list of 2 answers"),
        ("aime24", [{"prompt": "a\ud83d", "answer": "1"}], r"row 1 field 'prompt' contains an unpaired surrogate"),
        ("aime24", [{"prompt": "a", "answer": "1" * 8001}], r"row 1 has an answer of more than 8,000 characters"),
        ("arc_challenge", [{"prompt": "Q\n\nA) x\nB) y\n", "answer": "C"}], r"'C' is not among the options A, B"),
        ("gpqa_diamond", [{"prompt": "Q", "answer": "C"}], r"'C' is not among the options \(none found\)"),
    ],
)
def test_malformed_row_is_named_by_file_and_number(tmp_path, name, rows, message):
    write_local(tmp_path, name, rows)
    with pytest.raises(DataError, match=message):
        get_suite(name).load(tmp_path)


def test_an_answer_may_be_a_number_of_any_length_or_a_list_of_one(tmp_path):
    rows = [{"prompt": str(i), "answer": [10**4000]} for i in range(29)]
    write_local(tmp_path, "aime24", rows)
    path = tmp_path / "benchmarks" / "aime24.json"
    path.write_text(path.read_text()[:-1] + f', {{"prompt": "long", "answer": {"7" * 5000}}}]')
    golds = [q.gold for q in get_suite("aime24").load(tmp_path)]
    assert golds == [str(10**4000)] * 29 + ["7" * 5000]


def test_a_data_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DataError, match=r"data_dir .*nowhere does not exist.*HPT_DATA"):
        get_suite("aime24").load(tmp_path / "nowhere")


def test_a_repeated_question_counts_as_often(tmp_path):
    write_local(tmp_path, "aime24", [{"prompt": "a", "answer": "1"}] * 30)
    ids = [q.question_id for q in get_suite("aime24").load(tmp_path)]
    assert ids[1] == f"{ids[0]}-2"
    assert len(set(ids)) == 30


def test_changed_content_changes_the_identity(tmp_path):
    write_local(tmp_path, "aime24", [{"prompt": "a", "answer": "1"}])
    before = source("aime24").content(tmp_path)
    write_local(tmp_path, "aime24", [{"prompt": "a", "answer": "2"}])
    assert source("aime24").content(tmp_path) != before


def write_local(data_dir: Path, name: str, rows: list[object]) -> None:
    path = data_dir / "benchmarks" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows))
