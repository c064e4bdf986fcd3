"""The Unified Policy Gradient Estimator (paper, section 3): four interchangeable parts, one variant a file.

    grad = E[ 1_stable * (1 / pi_ref) * A * grad pi_theta ]

stabilization_mask/ is 1_stable, reference_policy/ is pi_ref, advantage/ is A, likelihood_gradient/ is grad pi_theta.
aggregation/ weights the token terms, and regularizers/ adds terms to the loss.
"""

VERSION = 1
"""Part of a training stage's fingerprint. Raise it when the same config would compute a different gradient."""
