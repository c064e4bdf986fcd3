"""`python -m benchmarks.report.build SPEC.json`: build the report's Parquet tables, leaderboard.md and static page."""

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.report.board import make_board
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.markdown import leaderboard
from benchmarks.report.page import Tables, write_site
from benchmarks.report.published_rows import published_rows
from benchmarks.report.schemas import SCORES
from benchmarks.report.tables import build_tables
from hpt_core.files import write_parquet, write_text
from hpt_core.worker import main, progress


def build(inputs: ReportInputs) -> None:
    """Write tables/, leaderboard.md and site/ into `inputs.output`. Equal inputs give equal bytes.

    Raises DataError if samples or verdicts are damaged, and ConfigError if the published results are unknown.
    """
    published = pa.Table.from_pylist(published_rows(inputs), SCORES)
    tables = inputs.output / "tables"
    scores = pa.concat_tables([build_tables(inputs, tables, progress("scored results")), published])
    write_parquet(tables / "scores.parquet", scores)
    board = make_board(scores)
    shown = Tables(
        *(pq.read_table(tables / f"{name}.parquet") for name in ("comparisons", "exclusive", "training_log"))
    )
    write_text(inputs.output / "leaderboard.md", leaderboard(inputs, board, shown.exclusive, shown.training_log))
    write_site(inputs, board, shown, inputs.output / "site")


if __name__ == "__main__":
    main(ReportInputs, build)
