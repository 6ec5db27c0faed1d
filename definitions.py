"""What Dagster loads: the feature repository in feature_repo/, on the stores of this deployment, and own_assets/."""

import dagster as dg
from dagster_duckdb import DuckDBResource

from feast_assets.dagster import definitions_for
from own_assets import FLEET_DATABASE, OWN_ASSETS, OWN_JOBS, planes
from resources import deployment_resources

# Every group of feature views is one step, so a process of its own for each step would only cost time.
defs = dg.Definitions.merge(
    definitions_for(deployment_resources(), source_assets={"planes": planes}),
    dg.Definitions(
        assets=OWN_ASSETS,
        jobs=OWN_JOBS,
        resources={"duckdb": DuckDBResource(database=str(FLEET_DATABASE))},
        executor=dg.in_process_executor,
    ),
)
