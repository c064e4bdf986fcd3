"""Shared by all stages: keys, artifacts, the decision to run or reuse, worker processes and the pipeline's config."""
