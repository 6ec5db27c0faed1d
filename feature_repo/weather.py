"""The weather at each airport."""

from datetime import UTC, datetime, timedelta

from entities import airport
from sources import live_weather

from feast_assets import Checks, FeatureView, Field, Float64, Partitions, String

origin_weather = FeatureView(
    name="origin_weather",
    description="The newest weather reading at the airport of departure, from the archive and from live readings.",
    entities=[airport],
    source=live_weather,
    ttl=timedelta(hours=3),
    partitions=Partitions("daily", start=datetime(2013, 1, 1, tzinfo=UTC), end=datetime(2014, 1, 3, tzinfo=UTC)),
    schema=[
        Field(name="origin", dtype=String, description="The airport's code."),
        Field(
            name="temperature_f",
            dtype=Float64,
            description="Air temperature, degrees Fahrenheit.",
            checks=Checks(minimum=-60, maximum=130),
        ),
        Field(name="dew_point_f", dtype=Float64, description="Dew point, degrees Fahrenheit."),
        Field(
            name="humidity_percent",
            dtype=Float64,
            description="Relative humidity.",
            checks=Checks(minimum=0, maximum=100),
        ),
        Field(
            name="wind_direction_degrees",
            dtype=Float64,
            description="Where the wind comes from; null in a calm.",
            checks=Checks(minimum=0, maximum=360),
        ),
        Field(
            name="wind_speed_mph",
            dtype=Float64,
            description="Steady wind, miles per hour.",
            checks=Checks(minimum=0, maximum=200),
        ),
        Field(name="wind_gust_mph", dtype=Float64, description="Gusts, miles per hour; null when there are none."),
        Field(
            name="precipitation_inches",
            dtype=Float64,
            description="Rain and melted snow in the hour, inches.",
            checks=Checks(minimum=0),
        ),
        Field(name="pressure_mb", dtype=Float64, description="Sea level pressure, millibars; often not measured."),
        Field(
            name="visibility_miles",
            dtype=Float64,
            description="How far one could see, at most 10 miles.",
            checks=Checks(nullable=False, minimum=0, maximum=10),
        ),
    ],
    tags={"domain": "weather"},
    owner="weather@example.com",
)
