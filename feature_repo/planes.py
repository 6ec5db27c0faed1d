"""What flies."""

from datetime import timedelta

from entities import aircraft
from sources import planes

from feast_assets import Checks, FeatureView, Field, Int64, String

plane = FeatureView(
    name="plane",
    description="What is known of the plane. A lookup table without history: it is materialized whole.",
    entities=[aircraft],
    source=planes,
    ttl=timedelta(0),
    partitions=None,
    schema=[
        Field(name="tailnum", dtype=String, description="The number on the plane's tail."),
        Field(
            name="built_year",
            dtype=Int64,
            description="Year in which it was built; null where unknown.",
            checks=Checks(minimum=1903),
        ),
        Field(name="manufacturer", dtype=String, description="Who built it."),
        Field(name="model", dtype=String, description="Which model it is."),
        Field(
            name="engines",
            dtype=Int64,
            description="How many engines it has.",
            checks=Checks(nullable=False, minimum=1),
        ),
        Field(
            name="seats",
            dtype=Int64,
            description="How many seats it has.",
            checks=Checks(minimum=1),
        ),
        Field(name="engine", dtype=String, description="What kind of engine it has, such as Turbo-fan."),
    ],
    tags={"domain": "fleet"},
    owner="fleet@example.com",
)
