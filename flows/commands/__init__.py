"""The commands of `hpt`, one module per group; flows/cli.py registers them."""
