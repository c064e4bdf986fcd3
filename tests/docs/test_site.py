"""The documentation site builds without warnings and without the network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.documents import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("docs")]
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), NOWHERE)
    environment = {**os.environ, **proxies, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "WARNING" not in output
    return folder


def test_pages_load_nothing_from_the_network(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"?(?:https?:)?//[^>]*>", text) == [], page


def test_links_of_the_site_lead_to_pages(site: Path) -> None:
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"(?:href|src)=\"([^\"#?:]+)(?:#[^\"]*)?\"", text):
            assert (page.parent / target).exists(), f"{page.relative_to(site)}: {target}"


def test_top_level_documents_are_pages(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    assert "make demo" in home
    assert "Stages as values" in (site / "explanation" / "architecture.html").read_text(encoding="utf-8")
    assert "Versions that invalidate artifacts" in (site / "contributing.html").read_text(encoding="utf-8")
    assert "hpt_core.gates.base.Gate" in (site / "reference" / "api" / "plugins.html").read_text(encoding="utf-8")
