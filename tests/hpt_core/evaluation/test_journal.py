"""Journals: appended entries are read back, also after a crash."""

import json

from hypothesis import given
from hypothesis import strategies as st

from hpt_core.evaluation.journal import Journal, new_session, read

ROW = {
    "benchmark": "b",
    "question_id": "q",
    "sample_index": 0,
    "seed": 2**40,
    "response": "a\u2028line\nand another \\boxed{1}\x00\ud7ff",
    "tokens": 3,
    "prompt_tokens": 5,
    "finish_reason": "stop",
}


def test_appended_entries_are_read_back(tmp_path):
    sessions = [new_session(), new_session()]
    for number, session in enumerate(sessions):
        journal = Journal(tmp_path / "journal", session, f"engine {number}")
        for index in range(3):
            journal.append({**ROW, "sample_index": index}, 1.5 * index, 3 * (index + 1))
        journal.close()
    found = list(read(tmp_path / "journal"))
    assert [(e.session, e.engine) for e in found] == [(s, f"engine {n}") for n, s in enumerate(sessions) for _ in "abc"]
    assert [e.row for e in found[:3]] == [{**ROW, "sample_index": index} for index in range(3)]
    assert [(e.at, e.generated) for e in found[3:]] == [(0.0, 3), (1.5, 6), (3.0, 9)]


def test_a_missing_journal_has_no_entries(tmp_path):
    assert list(read(tmp_path / "nowhere")) == []


@given(st.integers(0, 10**6))
def test_a_truncated_journal_keeps_every_complete_line(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder, "s", "engine")
    for index in range(4):
        journal.append({**ROW, "sample_index": index}, 0.0, 0)
    journal.close()
    path = folder / "s.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: cut % (len(whole) + 1)])
    lines = path.read_bytes().count(b"\n")
    assert [e.row["sample_index"] for e in read(folder)] == list(range(max(0, lines - 1)))


def test_lines_that_are_not_samples_are_left_out(tmp_path):
    lines = [{"engine": "e"}, {"at": 1.0}, [1], {**ROW, "at": 1.0, "generated": 3}]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "not JSON\n")
    assert [(e.engine, e.row) for e in read(tmp_path)] == [("e", ROW)]
