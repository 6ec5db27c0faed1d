"""Texts of definitions come back as they were, compressed or not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from feast_assets.definitions.spec import canonical_text
from feast_assets.registry.spec_text import compressed, restored
from feast_assets.testing.registry import view
from feast_assets.types import Float64


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_comes_back(text: str) -> None:
    assert restored(compressed(text)) == text


def test_a_text_of_before_is_read_as_it_is() -> None:
    assert restored('{"kind":"Entity"}') == '{"kind":"Entity"}'


def test_a_definition_takes_a_tenth() -> None:
    text = canonical_text(view("trips", [(f"f{i}", Float64) for i in range(10)]).to_spec())
    assert len(compressed(text)) < len(text) / 8


def test_what_was_compressed_before_can_be_read() -> None:
    """The example that texts refer to is part of the format."""
    assert (
        restored("z:w1JewkIL5CJ4WMFd5YpWuYFSb5FSLQA=")
        == '{"description":"","join_key":"driver_id","kind":"Entity","name":"rider"}'
    )
