"""What `import hpt_core as hpt` offers, for type checkers: __init__.py loads each name as it is used."""

from flows.api import run as run
from flows.results import Results as Results
from flows.results import open_run as open_run
from flows.run import RunOptions as RunOptions
from hpt_core.errors import HPTError as HPTError
from hpt_core.gates.base import Gate as Gate
from hpt_core.upge.algorithm import Algorithm as Algorithm
from hpt_core.upge.base import Group as Group
from hpt_core.upge.base import TokenBatch as TokenBatch
from hpt_core.upge.estimator import Estimator as Estimator
from hpt_core.upge.parts import Advantage as Advantage
from hpt_core.upge.parts import Advantages as Advantages
from hpt_core.verifiers.base import Judgment as Judgment
from hpt_core.verifiers.base import Outcome as Outcome
from hpt_core.verifiers.base import Verdict as Verdict
from hpt_core.verifiers.base import Verifier as Verifier
from hpt_core.verifiers.grading import grade as grade
from hpt_core.verifiers.pool import VerifierPool as VerifierPool

__version__: str
