"""1_stable: which tokens contribute to the gradient."""
