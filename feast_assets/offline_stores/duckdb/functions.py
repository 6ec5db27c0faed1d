"""The DuckDB functions that a query of a caller may use.

They compute from their arguments alone, draw at random, or tell the time. What is not listed is refused, so a function
that a newer DuckDB brings stays out of reach until it is added here. Left out on purpose are functions that read
settings, variables, secrets, the query or the catalog; that run SQL given as text; that write a log, count a sequence
or wait; and those that take raw internal states of DuckDB.
"""

from __future__ import annotations


def _listed(names: str) -> frozenset[str]:
    return frozenset(names.split())


OPERATORS = _listed(
    """
    != !__postfix !~~ !~~* % & && * ** + - ->> / // < <-> << <= <=> <@ = > >= >> @ @> ^ ^@ | || ~ ~~ ~~* ~~~
    """
)

SCALARS = _listed(
    """
    abs acos acosh add age aggregate alias apply array_aggr array_aggregate array_apply array_cat array_concat
    array_contains array_cosine_distance array_cosine_similarity array_cross_product array_distance array_distinct
    array_dot_product array_extract array_filter array_grade_up array_has array_has_all array_has_any
    array_indexof array_inner_product array_intersect array_length array_negative_dot_product
    array_negative_inner_product array_position array_reduce array_resize array_reverse_sort array_select
    array_slice array_sort array_to_json array_transform array_unique array_value array_where array_zip ascii asin
    asinh atan atan2 atanh bar base64 bin binom bit_count bit_length bit_position bitstring cardinality
    cast_to_type cbrt ceil ceiling century char_length character_length chr concat concat_ws constant_or_null
    contains cos cosh cot current_date current_localtime current_localtimestamp damerau_levenshtein date_diff
    date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth dayofweek dayofyear
    decade decimal_division decode degrees divide editdist3 element_at encode ends_with enum_code enum_first
    enum_last enum_range enum_range_boundary epoch epoch_ms epoch_ns epoch_us equi_width_bins era error even exp
    factorial filter flatten floor format format_bytes formatreadabledecimalsize formatreadablesize from_base64
    from_binary from_hex from_json from_json_strict gamma gcd gen_random_uuid generate_series get_bit
    get_current_time get_current_timestamp grade_up greatest greatest_common_divisor hamming hash hex
    hive_partition_component hour ilike_escape instr is_histogram_other_bin isfinite isinf isnan isodow isoyear
    jaccard jaro_similarity jaro_winkler_similarity json_array json_array_length json_contains json_deep_merge
    json_exists json_extract json_extract_path json_extract_path_text json_extract_string json_insert json_keys
    json_merge_patch json_merge_patch_diff json_normalize json_object json_pretty json_quote json_remove
    json_replace json_set json_strip_nulls json_structure json_transform json_transform_strict json_type
    json_valid json_value julian last_day lcase lcm least least_common_multiple left left_grapheme len length
    length_grapheme levenshtein lgamma like_escape list_aggr list_aggregate list_apply list_cat list_concat
    list_contains list_cosine_distance list_cosine_similarity list_distance list_distinct list_dot_product
    list_element list_extract list_filter list_grade_up list_has list_has_all list_has_any list_indexof
    list_inner_product list_intersect list_negative_dot_product list_negative_inner_product list_pack
    list_position list_reduce list_resize list_reverse_sort list_select list_slice list_sort list_transform
    list_unique list_value list_where list_zip ln log log10 log2 lower lpad ltrim make_date make_time
    make_timestamp make_timestamp_ms make_timestamp_ns make_timestamptz map map_concat map_contains map_entries
    map_extract map_extract_value map_from_entries map_keys map_values md5 md5_number microsecond millennium
    millisecond minute mismatches mod month monthname multiply nanosecond nextafter nfc_normalize
    normalized_interval not_ilike_escape not_like_escape now octet_length ord overlay parse_dirname parse_dirpath
    parse_filename parse_formatted_bytes parse_path path_join pi position pow power prefix printf quarter radians
    random range reduce regexp_escape regexp_extract regexp_extract_all regexp_full_match regexp_matches
    regexp_replace regexp_split_to_array repeat replace reverse right right_grapheme round round_even roundbankers
    row row_to_json rpad rtrim second set_bit sha1 sha256 sign signbit sin sinh split sqrt starts_with str_split
    str_split_regex strftime string_split string_split_regex string_to_array strip_accents strlen strpos strptime
    struct_concat struct_contains struct_extract struct_extract_at struct_has struct_indexof struct_insert
    struct_keys struct_pack struct_position struct_update struct_values substr substring substring_grapheme
    subtract suffix switch tan tanh time_bucket timezone timezone_hour timezone_minute to_base to_base64 to_binary
    to_centuries to_days to_decades to_hex to_hours to_json to_microseconds to_millennia to_milliseconds
    to_minutes to_months to_quarters to_seconds to_timestamp to_weeks to_years today transaction_timestamp
    translate trim trunc try_strptime typeof ucase unbin unhex unicode union_extract union_tag union_value
    unpivot_list upper url_decode url_encode uuid uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7
    variant_array_length variant_contains variant_exists variant_extract variant_extract_string variant_keys
    variant_type variant_typeof vertex_extract week weekday weekofyear xor year yearweek
    """
)

AGGREGATES = _listed(
    """
    any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null arg_max_nulls_last
    arg_min arg_min_null arg_min_nulls_last argmax argmin array_agg avg bit_and bit_or bit_xor bitstring_agg
    bool_and bool_or corr count count_if count_star countif covar_pop covar_samp entropy favg first fsum
    group_concat histogram histogram_exact kahan_sum kurtosis kurtosis_pop last list listagg lttb mad max max_by
    mean median min min_by mode product quantile quantile_cont quantile_disc regr_avgx regr_avgy regr_count
    regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy reservoir_quantile sem skewness stddev stddev_pop
    stddev_samp string_agg sum sum_no_overflow sumkahan var_pop var_samp variance variant_group_object
    """
)

MACROS = _listed(
    """
    ago array_append array_pop_back array_pop_front array_prepend array_push_back array_push_front array_reverse
    array_to_string array_to_string_comma_default assert_true date_add days_in_month fdiv fmod geomean
    geometric_mean if json json_group_array json_group_object json_group_structure list_any_value list_append
    list_approx_count_distinct list_avg list_bit_and list_bit_or list_bit_xor list_bool_and list_bool_or
    list_count list_entropy list_first list_histogram list_kurtosis list_kurtosis_pop list_last list_mad list_max
    list_median list_min list_mode list_prepend list_product list_reverse list_sem list_skewness list_stddev_pop
    list_stddev_samp list_string_agg list_sum list_var_pop list_var_samp map_contains_entry map_contains_value
    md5_number_lower md5_number_upper nullif pg_size_pretty pg_typeof regexp_split_to_table split_part
    variant_group_array wavg weighted_avg
    """
)
"""Functions that DuckDB defines as expressions of others."""

WINDOWS = _listed(
    """
    cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank rank_dense
    row_number
    """
)

FUNCTIONS = OPERATORS | SCALARS | AGGREGATES | MACROS | WINDOWS | {"unnest"}

TABLE_FUNCTIONS = frozenset(("generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest"))
"""Functions that make rows of their arguments alone."""

_EVERY_FORMAT = "filename hive_partitioning hive_types hive_types_autocast union_by_name"
_CSV = """
    all_varchar allow_quoted_nulls auto_detect auto_type_candidates buffer_size column_names column_types columns
    comment compression dateformat decimal_separator delim delimiter dtypes encoding escape files_to_sniff
    force_not_null header ignore_errors max_line_size maximum_line_size names new_line normalize_names null null_padding
    nullstr parallel quote sample_size sep skip strict_mode thousands timestampformat types
"""
_JSON = """
    auto_detect columns compression convert_strings_to_integers dateformat field_appearance_threshold format
    ignore_errors map_inference_threshold maximum_depth maximum_object_size maximum_sample_files records sample_size
    timestampformat
"""
_PARQUET = "binary_as_string explicit_cardinality file_row_number"

_OF_CSV = _listed(f"{_EVERY_FORMAT} {_CSV}")
_OF_JSON = _listed(f"{_EVERY_FORMAT} {_JSON}")
_OF_PARQUET = _listed(f"{_EVERY_FORMAT} {_PARQUET}")

READERS = {
    "parquet_scan": _OF_PARQUET,
    "read_parquet": _OF_PARQUET,
    "read_csv": _OF_CSV,
    "read_csv_auto": _OF_CSV,
    "read_json": _OF_JSON,
    "read_json_auto": _OF_JSON,
    "read_json_objects": _OF_JSON,
    "read_json_objects_auto": _OF_JSON,
    "read_ndjson": _OF_JSON,
    "read_ndjson_auto": _OF_JSON,
    "read_ndjson_objects": _OF_JSON,
}
"""Functions that read files -> the options that they may be given: those that name no other file and make no table."""
