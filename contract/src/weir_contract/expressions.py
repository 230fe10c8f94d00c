"""Which SQL a pipeline's author may write: Spark SQL, queries only, functions from an allow-list.

The text of an expression or query ends up in the Glue job, under the job's role. Spark's SQL can
call any Java method (``reflect``), run any program (``SELECT TRANSFORM .. USING 'cmd'``), read any
file (``parquet.`s3://..```, ``read_files``) and any environment variable (``${env:NAME}``), so the
text is checked before Spark sees it, by the operator, by ``weir validate`` and by the job itself.

The check looks at tokens as well as at the syntax tree: a name before a parenthesis is a call,
whatever a parser makes of it, so that nothing is renamed past the list.

sqlglot is imported on the first check: a Lambda that imports this package does not need it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import Token, exp

MAX_TEXT = 32_768
"""Longest expression or query in characters; parsing time grows with it."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALLOWED_FUNCTIONS = _words(
    """
    abs acos acosh add_months aggregate any any_value approx_count_distinct approx_percentile array
    array_agg array_append array_compact array_contains array_distinct array_except array_insert
    array_intersect array_join array_max array_min array_position array_prepend array_remove
    array_repeat array_sort array_union arrays_overlap arrays_zip ascii asin asinh atan atan2 atanh
    avg base64 bigint bin binary bit_and bit_count bit_get bit_length bit_or bit_xor bool_and
    bool_or boolean bround btrim cardinality cast cbrt ceil ceiling char char_length
    character_length chr coalesce collect_list collect_set concat concat_ws contains conv
    convert_timezone corr cos cosh cot count count_if covar_pop covar_samp crc32 csc cume_dist
    current_date current_timestamp curdate date date_add date_diff date_format date_from_unix_date
    date_part date_sub date_trunc dateadd datediff datepart day dayofmonth dayofweek dayofyear
    decimal decode degrees dense_rank div double e element_at elt encode endswith equal_null every
    exists exp explode explode_outer expm1 extract factorial filter find_in_set first first_value
    flatten float floor forall format_number format_string from_csv from_json from_unixtime
    from_utc_timestamp get get_json_object greatest grouping grouping_id hash hex hour hypot if
    ifnull ilike initcap inline inline_outer instr int isnan isnotnull isnull json_array_length
    json_object_keys json_tuple kurtosis lag last last_day last_value lcase lead least left len
    length levenshtein like ln locate log log10 log1p log2 lower lpad ltrim make_date
    make_dt_interval make_interval make_timestamp make_timestamp_ltz make_timestamp_ntz
    make_ym_interval map map_concat map_contains_key map_entries map_filter map_from_arrays
    map_from_entries map_keys map_values map_zip_with mask max max_by md5 mean median min min_by
    minute mod mode month months_between named_struct nanvl negative next_day now nth_value ntile
    nullif nvl nvl2 octet_length overlay parse_url percent_rank percentile percentile_approx pi
    pmod posexplode posexplode_outer position positive pow power printf quarter radians rank reduce
    regexp regexp_count regexp_extract regexp_extract_all regexp_instr regexp_like regexp_replace
    regexp_substr regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope repeat replace
    reverse right rint rlike round row_number rpad rtrim schema_of_json sec second sentences
    sequence sha sha1 sha2 shiftleft shiftright sign signum sin sinh size skewness slice smallint
    some sort_array soundex space split split_part sqrt stack startswith std stddev stddev_pop
    stddev_samp str_to_map string struct substr substring substring_index sum tan tanh timestamp
    timestamp_micros timestamp_millis timestamp_seconds timestampadd timestampdiff tinyint to_binary
    to_char to_csv to_date to_json to_number to_timestamp to_timestamp_ltz to_timestamp_ntz
    to_unix_timestamp to_utc_timestamp transform transform_keys transform_values translate trim
    trunc try_add try_avg try_cast try_divide try_element_at try_multiply try_subtract try_sum
    try_to_binary try_to_number try_to_timestamp typeof ucase unbase64 unhex unix_date unix_micros
    unix_millis unix_seconds unix_timestamp upper url_decode url_encode var_pop var_samp variance
    weekday weekofyear when width_bucket xpath_string xxhash64 year zip_with
    """
)
"""Spark SQL functions that compute from their arguments alone (plus the clock's date and time).

Source: *Spark SQL, Built-in Functions*, 3.5. Left out on purpose: ``reflect``, ``java_method`` and
``try_reflect`` (any Java method), ``input_file_*`` and ``read_files`` (files), ``current_user``,
``current_database``, ``current_catalog``, ``version`` (session), ``rand``, ``uuid``, ``shuffle``,
``monotonically_increasing_id`` and ``spark_partition_id`` (a retried task would give other rows),
``raise_error`` and ``assert_true`` (their text could carry row content into messages),
``aes_encrypt`` and ``aes_decrypt`` (keys do not belong into a spec).
"""

_SYNTAX = _words(
    """
    all and any anti array as asc between by case cross cube desc distinct else end except exists
    filter from full group having in inner intersect into is join lateral left limit map minus not
    offset on or order outer over partition pivot qualify right rlike like ilike rollup select
    semi set sets struct then union unpivot using values view when where with within exclude
    """
)
"""Words that stand before a parenthesis without being a call."""

_TYPES = _words("decimal dec numeric varchar char character")
"""Types that take arguments in parentheses."""

_SESSION_WORDS = _words("current_user session_user current_database current_schema current_catalog")
"""Spark evaluates these without parentheses where no column has the name."""


def check_expression(text: str) -> list[str]:
    """What is wrong with a Spark SQL expression (``split(email, '@')[1]``), for people.

    Parameters
    ----------
    text
        One scalar or boolean expression over the columns of a stage's input. Window functions are
        allowed, subqueries are not.

    Returns
    -------
    list of str
        One sentence a problem; empty where the expression may run.
    """
    problems = _check_text(text)
    if problems:
        return problems
    tree, problems = _parse(text)
    if tree is None:
        return problems
    from sqlglot import exp

    if isinstance(tree, exp.Alias):
        return [f"the expression names its own result ({tree.alias!r}); write it without AS"]
    if isinstance(tree, _statements()):
        return ["expected an expression, found a statement"]
    if tree.find(exp.Query) is not None:
        return ["subqueries are not allowed in an expression; use a join or a sql step"]
    if next(_parameters(tree), None) is not None:
        return ["parameters and placeholders are not allowed"]
    return problems


def check_query(text: str, tables: Collection[str]) -> list[str]:
    """What is wrong with a Spark SQL query, for people.

    Parameters
    ----------
    text
        One ``SELECT`` (with CTEs, joins, set operations as wished).
    tables
        The table names it may read, ``input`` and the declared sources; compared without case.

    Returns
    -------
    list of str
        One sentence a problem; empty where the query may run.
    """
    problems = _check_text(text)
    if problems:
        return problems
    tree, problems = _parse(text)
    if tree is None:
        return problems
    from sqlglot import exp

    if not isinstance(tree, exp.Query):
        return ["only queries are allowed: write one SELECT"]
    known = {name.lower() for name in tables}
    common = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        name = table.name.lower()
        if table.db or table.catalog:
            problems.append(
                f"{table.sql('spark')} is not allowed: files, paths and other databases can't be "
                "read from SQL"
            )
        elif name and name not in known | common:
            problems.append(
                f"table {table.name!r} is not known here; there are {', '.join(sorted(known))}"
            )
    forbidden = tuple(
        kind for kind in (getattr(exp, "QueryTransform", None), exp.Into) if kind is not None
    )
    if forbidden and tree.find(*forbidden) is not None:
        problems.append("TRANSFORM .. USING and INTO are not allowed")
    if next(_parameters(tree), None) is not None:
        problems.append("parameters and placeholders are not allowed")
    return problems


def columns_of(text: str) -> list[str]:
    """Names of the columns that a checked expression reads, in order, each once."""
    tree, _ = _parse(text)
    if tree is None:
        return []
    from sqlglot import exp

    return list(dict.fromkeys(column.name for column in tree.find_all(exp.Column)))


def _statements() -> tuple[type, ...]:
    from sqlglot import exp

    return (exp.Query, exp.DDL, exp.DML, exp.Command, exp.Set, exp.Use, exp.Describe, exp.Drop)


def _parameters(tree: exp.Expr) -> Iterator[exp.Expr]:
    from sqlglot import exp

    return tree.find_all(exp.Parameter, exp.Placeholder, exp.SessionParameter)


def _parse(text: str) -> tuple[exp.Expr | None, list[str]]:
    import sqlglot
    from sqlglot.errors import ParseError

    try:
        trees = [tree for tree in sqlglot.parse(text, dialect="spark") if tree is not None]
    except ParseError as error:
        detail = error.errors[0] if error.errors else {}
        place = f" at line {detail['line']}, column {detail['col']}" if "line" in detail else ""
        what = str(detail.get("description", "it does not parse")).split(" for <class")[0]
        return None, [f"not valid SQL{place}: {what}"]
    except RecursionError:
        return None, ["not valid SQL: nested too deeply"]
    if len(trees) != 1:
        return None, [f"expected one statement, found {len(trees)}"]
    return trees[0], []


def _check_text(text: str) -> list[str]:
    """Problems that show in the tokens, whatever the grammar says."""
    from sqlglot.dialects.spark import Spark
    from sqlglot.errors import TokenError
    from sqlglot.tokenizer_core import TokenType

    if not text.strip():
        return ["it is empty"]
    if len(text) > MAX_TEXT:
        return [f"it has {len(text)} characters; {MAX_TEXT} are allowed"]
    if "${" in text:
        return ["${...} is not allowed in SQL"]
    if not text.isprintable() and any(
        not char.isprintable() and char not in "\n\r\t" for char in text
    ):
        return ["it contains control characters"]
    try:
        tokens = Spark().tokenize(text)
    except TokenError:
        return ["not valid SQL: a quote is not closed"]
    problems: list[str] = []
    for index, token in enumerate(tokens):
        if token.comments or token.token_type == TokenType.HINT:
            return ["comments and hints are not allowed in SQL"]
        following = tokens[index + 1] if index + 1 < len(tokens) else None
        word = token.text.lower()
        if following is None or following.token_type != TokenType.L_PAREN:
            bare = token.token_type not in (TokenType.STRING, TokenType.IDENTIFIER)
            qualified = index > 0 and tokens[index - 1].token_type == TokenType.DOT
            if word in _SESSION_WORDS and bare and not qualified:
                problems.append(_refused(word))
            is_string = following is not None and following.token_type in (
                TokenType.STRING,
                TokenType.RAW_STRING,
            )
            if word == "using" and is_string:
                problems.append("USING with a program is not allowed")
            continue
        problems += _check_call(tokens, index)
    return list(dict.fromkeys(problems))


def _check_call(tokens: list[Token], index: int) -> list[str]:
    """Problems of the token before a parenthesis: is it a call, and of what?"""
    from sqlglot.tokenizer_core import TokenType

    token = tokens[index]
    word = token.text.lower()
    if token.token_type in (TokenType.R_PAREN, TokenType.STRING, TokenType.R_BRACKET):
        return [f"a call may not follow {token.text!r}"]
    if not (token.token_type == TokenType.IDENTIFIER or word[:1].isalpha() or word[:1] == "_"):
        return []
    if index and tokens[index - 1].token_type == TokenType.DOT:
        return [f"function {word!r} must be named without a qualifier"]
    quoted = token.token_type == TokenType.IDENTIFIER
    if word in ALLOWED_FUNCTIONS or (not quoted and word in _SYNTAX | _TYPES):
        return []
    if _names_columns(tokens, index):
        return []
    return [_refused(word)]


def _names_columns(tokens: list[Token], index: int) -> bool:
    """Whether ``name (`` is a common table expression's head: ``WITH name (a, b) AS (..)``."""
    return index > 0 and tokens[index - 1].text.lower() == "with"


def _refused(word: str) -> str:
    return (
        f"function {word!r} is not allowed: it is no pure Spark SQL function on Weir's list "
        "(files, session, Java and random functions are refused)"
    )
