"""Names and places of deployments never meet."""

from hypothesis import given
from hypothesis import strategies as st

from feast_assets.definitions.branches import namespace
from feast_assets.definitions.project import check_project_name

names = st.text(min_size=1, max_size=12) | st.sampled_from(["a/b", "a_b", "a.b", "a b"])


@given(names, names)
def test_namespaces_are_valid_and_differ_as_the_deployments_do(one: str, other: str) -> None:
    assert check_project_name(namespace("taxi", one))
    assert namespace("taxi", one) != "taxi"
    assert (namespace("taxi", one) == namespace("taxi", other)) == (one == other)


def test_production_is_called_as_the_project() -> None:
    assert namespace("taxi", "") == "taxi"
