"""Loads the airlines' planes into a table of a DuckDB file, which the feature view ``plane`` reads."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from dagster_duckdb import DuckDBResource

from feast_assets.dagster import duckdb_pool

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DATA = Path(__file__).resolve().parents[1] / "feature_repo" / "data"
FLEET_DATABASE = DATA / "fleet.duckdb"


@dg.asset(
    key=["raw", "planes"],
    group_name="raw",
    kinds={"duckdb"},
    owners=["fleet@example.com"],
    pool=duckdb_pool(FLEET_DATABASE),
)
def planes(duckdb: DuckDBResource) -> dg.MaterializeResult[None]:
    """What is known of each plane: a table of fleet.duckdb, loaded anew from the staged file."""
    with duckdb.get_connection() as connection:
        rows = load_planes(connection, DATA / "planes.parquet")
    return dg.MaterializeResult(metadata={"dagster/row_count": rows, "dagster/table_name": "fleet.main.planes"})


def load_planes(connection: "DuckDBPyConnection", file: Path) -> int:
    """Makes the table ``planes`` hold the rows of a Parquet file, and returns how many there are."""
    query = "CREATE OR REPLACE TABLE planes AS SELECT * FROM read_parquet($file) ORDER BY tailnum"
    connection.execute(query, {"file": str(file)})
    ((rows,),) = connection.execute("SELECT count(*) FROM planes").fetchall()
    return int(rows)
