"""How fast the store is: beside Feast, beside the bare engines, and as it grows. `make bench` runs it.

The same scripts run under Feast and under feast_assets, each measurement in a fresh process of its library's
environment, so nothing here but `benchmarks.paths.dagster_runs` and what the driver runs imports either by name.
"""
