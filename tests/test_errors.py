"""Errors as Feast's users and clients know them: names, bases, statuses, and their text form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from feast_assets import errors, feast_errors
from feast_assets.errors import FeastAssetsError, FeastError, FeastObjectNotFoundException


def _own() -> dict[str, type[FeastError]]:
    return {
        name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, FeastError)
    }


@pytest.mark.parametrize("name", sorted(feast_errors.ERRORS))
def test_errors_that_only_feast_raises_can_be_caught_and_imported(name: str) -> None:
    error = getattr(errors, name)
    assert issubclass(error, FeastAssetsError)
    assert error.__doc__
    assert name not in vars(errors), "defined twice"


def test_all_errors_have_feasts_root() -> None:
    assert len(_own()) > 40
    assert {name for name, error in _own().items() if not issubclass(error, FeastAssetsError)} == {"FeastError"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InputError("x"), 400),
        (errors.DefinitionError("x"), 400),
        (errors.FeatureViewNotFoundException("x"), 404),
        (errors.FeatureNotFoundError("x", "view"), 404),
        (errors.RequestDataNotFoundInEntityRowsException("x"), 404),
        (errors.PushSourceNotFoundException("x"), 422),
        (errors.ConcurrentApplyError("x"), 409),
        (errors.StoreUnavailableError("x"), 503),
        (errors.NotSupportedError("x"), 501),
        (errors.RetrievalTimeoutError(1), 504),
        (errors.UnknownRowSchemaError([1], "x"), 503),
        (errors.BrokenChecksError("x", [], None), 422),
        (errors.SourceError("x"), 500),
        (feast_errors.FeastPermissionError("x"), 403),
    ],
)
def test_a_callers_mistake_is_no_fault_of_the_server(error: FeastError, status: int) -> None:
    assert error.http_status_code() == status
    assert type(error).grpc_status.isupper()


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (errors.FeatureNotFoundError("fair", "stats", ["fare"]), "FeastObjectNotFoundException"),
        (errors.EntityNotFoundException("driver", "shop"), "EntityNotFoundException"),
        (errors.MissingJoinKeyError("Row 3 has no driver_id."), "FeastError"),
        (errors.FeatureNameCollisionError("Two features are named 'fare'."), "FeatureNameCollisionError"),
        (feast_errors.FeastPermissionError("x"), "FeastPermissionError"),
        (feast_errors.RedshiftTableNameTooLong("x" * 200), "RedshiftTableNameTooLong"),
    ],
)
def test_an_error_is_told_to_clients_by_the_nearest_class_that_feast_has(error: FeastError, name: str) -> None:
    detail = json.loads(error.to_error_detail())
    assert detail == {"module": "feast.errors", "class": name, "message": str(error)}
    told = FeastError.from_error_detail(error.to_error_detail())
    assert type(told).__name__ == name
    assert str(told) == str(error)


@pytest.mark.parametrize("module", ["feast.errors", "feast_assets.errors", "os"])
def test_only_errors_are_made_of_details_whatever_module_they_name(module: str) -> None:
    detail = {"module": module, "class": "EntityNotFoundException", "message": "No\x1b[31m such."}
    told = FeastError.from_error_detail(json.dumps(detail))
    assert type(told) is errors.EntityNotFoundException
    assert str(told) == r"No\x1b[31m such."
    assert FeastError.from_error_detail(json.dumps({**detail, "class": "suggest"})) is None
    assert FeastError.from_error_detail(json.dumps({**detail, "class": "system"})) is None


@pytest.mark.parametrize("detail", ["", "{", "[]", "5", '{"class": 1, "message": "x"}', '{"class": "FeastError"}'])
def test_other_text_is_no_error_detail(detail: str) -> None:
    assert FeastError.from_error_detail(detail) is None


@pytest.mark.parametrize("name", ["RequestDataNotFoundInEntityDfException", "RequestDataNotFoundInEntityRowsException"])
def test_missing_request_data_is_both_a_wrong_argument_and_not_found(name: str) -> None:
    error: Any = getattr(errors, name)
    assert issubclass(error, errors.InputError)
    assert issubclass(error, FeastObjectNotFoundException)
