"""The algorithm and its engines: data, rollouts, verifiers, the estimator, training and evaluation.

Nothing here imports Prefect, and importing the configs loads neither torch nor vLLM.
"""

__version__ = "0.1.0"
