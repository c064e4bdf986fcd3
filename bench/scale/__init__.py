"""How orchestration scales: stages, plans, slices, Prefect's API, and a simulation beyond one machine."""
