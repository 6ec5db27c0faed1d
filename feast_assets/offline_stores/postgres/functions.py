"""What a caller's query may call in Postgres: functions that compute from their arguments alone."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot.dialects.postgres import Postgres
from sqlglot.parsers.postgres import PostgresParser


def _words(text: str) -> list[str]:
    return text.split()


FUNCTIONS = frozenset(
    _words("""
    abs acos acosd acosh age any_value array_agg array_append array_cat array_dims array_length array_lower
    array_ndims array_position array_positions array_prepend array_remove array_replace array_to_json
    array_to_string array_upper ascii asin atan atan2 atanh avg bit_and bit_count bit_length bit_or bit_xor
    bool_and bool_or btrim cardinality cbrt ceil ceiling char_length character_length chr coalesce concat
    concat_ws convert_from convert_to corr cos cosh cot count covar_pop covar_samp cume_dist date_bin date_part
    date_trunc decode degrees dense_rank div encode every exp factorial first_value floor format gcd
    generate_series generate_subscripts greatest grouping initcap isfinite json_agg json_array_elements
    json_array_elements_text json_array_length json_build_array json_build_object json_each json_each_text
    json_extract_path json_extract_path_text json_object_agg json_object_keys json_typeof jsonb_agg
    jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object
    jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text jsonb_object_agg jsonb_object_keys
    jsonb_typeof justify_days justify_hours justify_interval lag last_value lcm lead least left length ln log
    log10 lower ltrim make_date make_interval make_time make_timestamp make_timestamptz max md5 min mod mode now
    nth_value ntile nullif num_nonnulls num_nulls octet_length percent_rank percentile_cont percentile_disc pi
    power radians random rank regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace
    regexp_split_to_array regexp_split_to_table regexp_substr regr_avgx regr_avgy regr_count regr_intercept
    regr_r2 regr_slope regr_sxx regr_sxy regr_syy replace reverse right round row row_number row_to_json rtrim
    scale sha224 sha256 sha384 sha512 sign sin sinh split_part sqrt starts_with stddev stddev_pop stddev_samp
    string_agg string_to_array strpos substr substring sum tan tanh to_char to_date to_hex to_json to_jsonb
    to_number to_timestamp translate trim_array trim_scale trunc unnest upper var_pop var_samp variance
    width_bucket
    """)
)


class ReadingPostgres(Postgres):
    """Postgres' SQL, in which every function keeps the name that it is called by."""

    class Parser(PostgresParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
