"""A real Prefect server on the loopback address, with a folder of its own. It can be killed and started again."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.ports import free_port

WITHOUT_PANDAS = Path(__file__).parent / "without_pandas"


class Server:
    """A Prefect server and the environment of the processes that use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._own = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | {
            "PREFECT_HOME": str(folder),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "160",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(WITHOUT_PANDAS), os.environ.get("PYTHONPATH")])),
        }
        self.environment = self._own | {"PREFECT_API_URL": f"http://127.0.0.1:{self._port}/api"}

    def start(self) -> None:
        """Start it and wait until it answers. Raises RuntimeError with its log if it does not."""
        program = [sys.executable, "-m", "flows.collected", "prefect", "server", "start"]
        command = [*program, "--host", "127.0.0.1", "--port", str(self._port)]
        log = self.folder / "server.log"
        with log.open("a") as output:
            # A group of its own, so that it can be ended with whatever it starts.
            self._process = subprocess.Popen(
                command, env=self._own, stdout=output, stderr=output, start_new_session=True
            )
        end = time.monotonic() + 120
        while time.monotonic() < end and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.environment['PREFECT_API_URL']}/health", timeout=2) as answer:
                    answer.read()
                return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"the Prefect server did not start:\n{log.read_text()}")

    def detach(self) -> int:
        """Leave it running when this process ends. Returns its process id, which is its group's, too."""
        assert self._process is not None
        self._process.returncode = 0  # otherwise it warns when it is freed
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and neither killed nor ended."""
        return self._process is not None

    def kill(self) -> None:
        """Kill it, as a machine that loses its power does."""
        self._signal(signal.SIGKILL)

    def end(self) -> None:
        """Ask it to end, and kill it if it does not."""
        try:
            self._signal(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self.kill()

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)
            self._process.wait(20)
            self._process = None
