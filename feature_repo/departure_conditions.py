"""What the weather means for one departure: computed when asked for, the same way for training and serving."""

from typing import Any

from weather import origin_weather

from feast_assets import Bool, Field, Float64, Int64, RequestSource, on_demand_feature_view

departure = RequestSource(
    name="departure",
    schema=[
        Field(
            name="scheduled_hour",
            dtype=Int64,
            description="Hour of the scheduled departure on the airport's own clock, 0 to 23.",
        )
    ],
    description="What is known of a flight only when it is asked about.",
    owner="operations@example.com",
)


@on_demand_feature_view(
    description="What the weather and the hour of day mean for a departure.",
    sources=[
        origin_weather[
            ["temperature_f", "precipitation_inches", "visibility_miles", "wind_speed_mph", "wind_gust_mph"]
        ],
        departure,
    ],
    mode="python",
    schema=[
        Field(name="strongest_wind_mph", dtype=Float64, description="Gusts, or the steady wind where there are none."),
        Field(name="icing", dtype=Bool, description="Whether anything fell while it froze."),
        Field(name="low_visibility", dtype=Bool, description="Whether one could see less than three miles."),
        Field(name="evening_rush", dtype=Bool, description="Whether it leaves between four and eight in the evening."),
    ],
    tags={"domain": "weather"},
    owner="weather@example.com",
)
def departure_conditions(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    freezing = [None if t is None else t <= 32.0 for t in inputs["temperature_f"]]
    falling = [None if p is None else p > 0.0 for p in inputs["precipitation_inches"]]
    winds = zip(inputs["wind_gust_mph"], inputs["wind_speed_mph"], strict=True)
    return {
        "strongest_wind_mph": [steady if gust is None else gust for gust, steady in winds],
        "icing": [None if f is None or p is None else f and p for f, p in zip(freezing, falling, strict=True)],
        "low_visibility": [None if miles is None else miles < 3.0 for miles in inputs["visibility_miles"]],
        "evening_rush": [None if hour is None else 16 <= hour < 20 for hour in inputs["scheduled_hour"]],
    }
