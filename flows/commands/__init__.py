"""The commands of `hpt`, a module for each group; flows/cli.py joins them."""
