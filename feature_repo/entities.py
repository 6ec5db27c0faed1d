"""What the features describe."""

from feast_assets import Entity, ValueType

airport = Entity(
    name="airport",
    join_keys=["origin"],
    value_type=ValueType.STRING,
    description="An airport of New York City, by its three-letter code: EWR, JFK or LGA.",
    owner="operations@example.com",
)

carrier = Entity(
    name="carrier",
    join_keys=["carrier"],
    value_type=ValueType.STRING,
    description="An airline, by its two-letter code, such as UA.",
    owner="operations@example.com",
)

aircraft = Entity(
    name="aircraft",
    join_keys=["tailnum"],
    value_type=ValueType.STRING,
    description="One plane, by the number on its tail, such as N14228.",
    owner="fleet@example.com",
)
