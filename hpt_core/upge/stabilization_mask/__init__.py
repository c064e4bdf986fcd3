"""1_stable: which tokens are kept out of the gradient."""
