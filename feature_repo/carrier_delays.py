"""How punctual each airline has been at each airport."""

from datetime import UTC, datetime, timedelta

from entities import airport, carrier
from sources import flights, kept_carrier_delays

from feast_assets import Field, Float64, Int64, Partitions, String, batch_feature_view


@batch_feature_view(
    description="An airline's departures from an airport in the 24 hours before each full hour, as far as their "
    "outcomes were known by then.",
    mode="sql",
    entities=[airport, carrier],
    source=flights,
    sink_source=kept_carrier_delays,
    offline=True,
    ttl=timedelta(hours=6),
    lookback=timedelta(hours=24),
    partitions=Partitions("daily", start=datetime(2013, 1, 1, tzinfo=UTC), end=datetime(2014, 1, 3, tzinfo=UTC)),
    schema=[
        Field(name="origin", dtype=String, description="The airport's code."),
        Field(name="carrier", dtype=String, description="The airline's code."),
        Field(name="flights_24h", dtype=Int64, description="Flights whose outcome became known."),
        Field(
            name="mean_delay_24h",
            dtype=Float64,
            description="Mean delay of those that left, minutes; null if none did.",
        ),
        Field(
            name="late_share_24h",
            dtype=Float64,
            description="Share of them that left over 15 minutes late; null if none did.",
        ),
        Field(name="cancelled_share_24h", dtype=Float64, description="Share of the flights that were cancelled."),
    ],
    tags={"domain": "operations"},
    owner="operations@example.com",
)
def carrier_delays(flights: str) -> str:
    # A flight whose outcome is known at 10:17 counts in the rows of 11:00 today to 10:00 tomorrow: it is in the 24
    # hours before each of them, and never in a row of a time at which nobody could know it.
    return f"""
        SELECT
            origin,
            carrier,
            date_trunc('hour', known_at) + to_hours(hours_later) AS as_of,
            count(*) AS flights_24h,
            avg(departure_delay) AS mean_delay_24h,
            avg((departure_delay > 15)::INTEGER) AS late_share_24h,
            avg(cancelled::INTEGER) AS cancelled_share_24h
        FROM {flights}
        CROSS JOIN unnest(generate_series(1, 24)) AS hour(hours_later)
        GROUP BY ALL
    """  # noqa: S608 - the store gives the relation's name, and nothing else is put in
