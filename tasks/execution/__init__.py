"""What every stage shares: keys and artifacts, the decision whether it runs, worker processes, the config of all."""
