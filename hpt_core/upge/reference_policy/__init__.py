"""pi_ref: the denominator of the estimator."""
