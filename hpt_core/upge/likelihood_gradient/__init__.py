"""f: the function of the likelihood whose gradient is followed."""
