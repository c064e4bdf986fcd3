"""Build a report: Parquet tables, leaderboard.md and the static page. `python -m benchmarks.report.build SPEC.json`."""

from benchmarks.report.inputs import BenchmarkResult, ModelResult, Protocol, ReportInputs, SuiteInfo

__all__ = ["BenchmarkResult", "ModelResult", "Protocol", "ReportInputs", "SuiteInfo"]
