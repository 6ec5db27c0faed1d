"""What models read."""

from carrier_delays import carrier_delays
from departure_conditions import departure_conditions
from planes import plane
from weather import origin_weather

from feast_assets import FeatureService

departure_delay = FeatureService(
    name="departure_delay",
    description="What a model reads that says, an hour before a flight should leave, whether it will leave late.",
    features=[
        origin_weather[["temperature_f", "wind_speed_mph", "precipitation_inches", "visibility_miles"]],
        carrier_delays,
        plane[["built_year", "seats"]],
        departure_conditions,
    ],
    tags={"domain": "operations"},
    owner="operations@example.com",
)
