"""Builds the site of a store from its catalog."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.catalog.board import Board, make_board
from benchmarks.catalog.records import Records
from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables
from benchmarks.site import every_eval_ever
from benchmarks.site.board import board_data
from benchmarks.site.card import card
from benchmarks.site.compare import Sides, pair_data, pair_path, pairs_of
from benchmarks.site.facts import Models, short_id
from benchmarks.site.files import SiteFiles, as_json
from benchmarks.site.history import history_data
from benchmarks.site.lighteval import INDEX, details, details_index, details_path
from benchmarks.site.models import ModelData
from benchmarks.site.questions import Responses, question_sets, response_path, set_data, shown
from benchmarks.site.runs import RunData
from benchmarks.site.tables import published, tables_data
from benchmarks.site.training import TrainingLogs
from hpt_core.artifacts import Store
from hpt_core.artifacts.known import cache_folder
from hpt_core.code import code_of_packages
from hpt_core.files import sha256_json

SOURCES = (
    "benchmarks.site",
    "benchmarks.curves",
    "benchmarks.effects",
    "benchmarks.markdown",
    "hpt_core.evaluation.student",
    "benchmarks.catalog",
    "benchmarks.significance",
    "hpt_core.evaluation.metrics",
    "hpt_core.texts",
)
"""Packages and modules whose code determines the files."""


class Page(NamedTuple):
    """One page of the site."""

    path: str
    title: str
    about: str
    in_menu: bool = True


PAGES = (
    Page("index.html", "Board", "The latest scores of every model, and how sure they are."),
    Page("compare.html", "Compare", "What differs between models, question by question."),
    Page("questions.html", "Questions", "Which model solves which question."),
    Page("history.html", "History", "Scores of each name over time, and what got worse."),
    Page("runs.html", "Runs", "What each run did, and what became of its stages."),
    Page("data.html", "Data", "The numbers of this site as tables."),
    Page("model.html", "Model", "Where a model comes from, and how it scores.", in_menu=False),
    Page("run.html", "Run", "What one run did, what it cost, and how to repeat it.", in_menu=False),
)
STATIC = ("site.css", "site.js")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'"
)
"""Content security policy of every page: nothing from other hosts, no script or style in the page itself."""


@dataclass(frozen=True)
class Site:
    """The site of a store, as its catalog is now."""

    store: Store
    tables: Tables

    @cached_property
    def records(self) -> Records:
        """The catalog's records."""
        return Records(self.store.root)

    @cached_property
    def sides(self) -> Sides:
        """The models that can be compared."""
        return Sides(self.records, self.tables)

    @cached_property
    def responses(self) -> Responses:
        """What they answered."""
        return Responses(self.store, self.records, self.tables)

    @cached_property
    def models(self) -> Models:
        """What the catalog says about each model."""
        return Models(self.tables)

    @cached_property
    def board(self) -> Board:
        """The catalog's board."""
        return make_board(self.tables)

    def board_data(self) -> Row:
        """The JSON of data/board.json."""
        return board_data(self.board, self.tables, self.models)

    def build(self, folder: Path, responses: bool = False, live: bool = False, reports: str = "") -> list[str]:
        """Write the site into `folder`, and return the paths of the files that were written.

        Files whose data have not changed stay as they are. `responses` includes texts of questions and responses, of
        the benchmarks that allow it. `live` is for a server that also answers with `on_demand`: open pages look for
        changes. `reports` is the address of the list of published reports, for the menu. Raises StoreError and OSError.
        """
        files = SiteFiles(folder)
        code = code_of_packages(*SOURCES)
        for name in STATIC:
            static = resources.files("benchmarks.site").joinpath("static", name)
            files.put(name, code, static.read_bytes)
        for page in PAGES:
            files.put(page.path, code, partial(_page, page))
        files.put_value("data/board.json", self.board_data())
        made = ModelData(self.tables, self.models)
        for model in made.hashes():
            made_of = sha256_json([code, made.key(model)])
            data = cache(partial(made.data, model))
            files.put_json(f"data/models/{short_id(model)}.json", made_of, data)
            files.put_json(f"data/every_eval_ever/{short_id(model)}.json", made_of, _shared, data)
            files.put(f"data/cards/{short_id(model)}.md", made_of, partial(_card, data))
        files.put_value("data/models.json", {short_id(model): made.name(model) for model in made.hashes()})
        sets = question_sets(self.tables)
        for name, found in sets.items():
            key = [code, found.hash, [row["record"] for row in found.counted]]
            files.put_json(f"data/questions/{name}.json", key, set_data, self.records, self.tables, found)
        files.put_json("data/history.json", [code, self._scores_key()], history_data, self.tables)
        for first, second in pairs_of(self.board, json.loads((folder / "data/history.json").read_bytes())):
            key = [code, self.sides.key(first, second)]
            files.put_json(pair_path(first, second), key, self._pair, first, second)
        logs = TrainingLogs(self.store, self.tables)
        for model, log in logs.models():
            files.put_json(f"data/training/{short_id(model)}.json", [code, log], logs.data, model)
        files.put_value("data/training.json", sorted(short_id(model) for model, _ in logs.models()))
        runs = RunData(self.tables)
        files.put_value("data/runs.json", runs.index())
        for run in runs.runs():
            files.put_json(f"data/runs/{short_id(run)}.json", [code, runs.key(run)], runs.data, run)
        tables = [*published(self.records, self.tables, sets)]
        for table in tables:
            files.put(f"tables/{table.name}.parquet", [code, table.key], table.parquet)
            files.put(f"tables/{table.name}.csv.gz", [code, table.key], table.csv)
        files.put_value("data/tables.json", tables_data(tables))
        listed = []
        for record, benchmark, number in self.responses.blocks() if responses else ():
            block = (code, record, number)
            answered = cache(partial(self.responses.answered, record, number))
            files.put_json(response_path(record, number), block, _pages, answered)
            if files.put(details_path(record, benchmark, number), block, partial(_details, benchmark, answered)):
                listed.append((record, benchmark, number))
        if not live:
            files.put_value(INDEX, details_index(self.tables, listed))
        files.put_value("data/site.json", {"version": files.version(), "live": live, "reports": reports})
        files.finish()
        return files.written

    def on_demand(self, path: str) -> bytes | None:
        """A file that a built site may lack: the comparison of any pair, and responses in both forms. None if there is
        none.

        Raises StoreError.
        """
        name = path.removesuffix(".json")
        if name.startswith("data/compare/"):
            first, _, second = name.removeprefix("data/compare/").partition("-")
            if first < second and first in self.sides and second in self.sides:
                return as_json(self._pair(first, second))
        if name.startswith("data/responses/"):
            record, _, number = name.removeprefix("data/responses/").partition("/")
            if number.isdecimal() and path == response_path(record, int(number)):
                found = self.responses.answered(record, int(number))
                return None if found is None else as_json(shown(found))
        if path == INDEX:
            return as_json(details_index(self.tables, self.responses.blocks()))
        if name.startswith("data/lighteval/"):
            record, _, file = name.removeprefix("data/lighteval/").removesuffix(".parquet").partition("/")
            number, benchmark = file.rpartition("_")[2], self.responses.benchmark(record)
            if number.isdecimal() and path == details_path(record, benchmark, int(number)):
                return _details(benchmark, partial(self.responses.answered, record, int(number)))
        return None

    def _scores_key(self) -> list[Any]:
        """What everything that follows from all scores is made of."""
        return [self.tables.scores.column("record").to_pylist(), self.tables.labels.key()]

    def _pair(self, first: str, second: str) -> Row:
        return pair_data(self.tables, self.sides, first, second)


@contextlib.contextmanager
def cached_site(store: Store, tables: Tables, reports: str) -> Iterator[Path]:
    """A folder with the site of a store as it is now, copied from this user's cache, where it is brought up to date.

    Raises StoreError and OSError.
    """
    folder = cache_folder() / "sites" / short_id(sha256_json(store.address))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        copy = Path(beside) / "site"
        with folder.with_suffix(".lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            Site(store, tables).build(folder, reports=reports)
            shutil.copytree(folder, copy, copy_function=_link)
        yield copy


def _link(source: str, target: str) -> None:
    """A second name for the file. What is written later has another file, because it replaces the name."""
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)


def _shared(data: Callable[[], Row]) -> Row:
    return every_eval_ever.record(data())


def _card(data: Callable[[], Row]) -> bytes:
    return card(data()).encode()


def _pages(answered: Callable[[], list[Row] | None]) -> Row | None:
    found = answered()
    return None if found is None else shown(found)


def _details(benchmark: str, answered: Callable[[], list[Row] | None]) -> bytes | None:
    found = answered()
    return None if found is None else details(benchmark, found)


def _page(page: Page) -> bytes:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("benchmarks.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    name = page.path.removesuffix(".html").replace("index", "board")
    template = environment.get_template(f"{name}.html.j2")
    text = template.render(page=page, name=name, menu=[each for each in PAGES if each.in_menu], policy=POLICY)
    return text.encode()
