-- Run once, when the Postgres volume is new: the registry is in the database features, Dagster in one of its own.
CREATE DATABASE dagster OWNER features;
