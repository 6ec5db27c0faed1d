"""Where the data are. `make stage` writes the files; scripts/stage_flights.py says what their times mean."""

from feast_assets import DuckDBSource, FileSource, PushSource

flights = FileSource(
    name="flights",
    path="data/flights",
    timestamp_field="known_at",
    description="Every scheduled departure of 2013. A row's time is when its outcome was known: at departure, or, for "
    "a cancelled flight, three hours after it should have left.",
    owner="operations@example.com",
)

weather = FileSource(
    name="weather",
    path="data/weather",
    timestamp_field="known_at",
    description="Hourly readings at the three airports. A row's time is the end of its hour.",
    owner="weather@example.com",
)

live_weather = PushSource(
    name="live_weather",
    batch_source=weather,
    description="Readings as they are made; `weather` holds their history.",
    owner="weather@example.com",
)

planes = DuckDBSource(
    name="planes",
    database="data/fleet.duckdb",
    table="planes",
    timestamp_field="known_at",
    description="What is known of each plane: a table that the asset raw/planes loads (own_assets/fleet.py). It does "
    "not change, so there is one row for each.",
    owner="fleet@example.com",
)

kept_carrier_delays = FileSource(
    name="kept_carrier_delays",
    path="data/carrier_delays",
    timestamp_field="as_of",
    description="The computed rows of the view carrier_delays, which materialization keeps here.",
    owner="operations@example.com",
)
