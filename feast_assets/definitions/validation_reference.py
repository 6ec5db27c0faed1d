"""A saved dataset as the measure of others, and what measures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from feast_assets.definitions.base import Definition, check_name, spec_of
from feast_assets.errors import DefinitionError, InputError, shown

if TYPE_CHECKING:
    import pandas as pd

    from feast_assets.definitions.saved_dataset import SavedDataset


class ValidationError:
    """One finding of a validation.

    Args:
        check_name: what was checked.
        column_name: in which column.
        check_config: how.
        missing_count, missing_percent: how many values are missing.
        observed_value: what was found instead.
        unexpected_count, unexpected_percent: how many values are wrong.
    """

    check_name: str
    column_name: str
    check_config: object
    missing_count: int | None
    missing_percent: float | None
    observed_value: float | None
    unexpected_count: int | None
    unexpected_percent: float | None

    def __init__(
        self,
        check_name: str,
        column_name: str,
        check_config: object = None,
        missing_count: int | None = None,
        missing_percent: float | None = None,
        observed_value: float | None = None,
        unexpected_count: int | None = None,
        unexpected_percent: float | None = None,
    ):
        self.check_name = check_name
        self.column_name = column_name
        self.check_config = check_config
        self.missing_count = missing_count
        self.missing_percent = missing_percent
        self.observed_value = observed_value
        self.unexpected_count = unexpected_count
        self.unexpected_percent = unexpected_percent

    def to_dict(self) -> dict[str, Any]:
        """Returns it as data."""
        return dict(vars(self))

    def __repr__(self) -> str:
        attributes = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value is not None)
        return f"ValidationError({attributes})"


class ValidationReport(ABC):
    """The outcome of a validation."""

    @property
    @abstractmethod
    def is_success(self) -> bool:
        """Whether nothing is wrong."""

    @property
    @abstractmethod
    def errors(self) -> list[ValidationError]:
        """What is wrong."""


class Profile(ABC):
    """What rows must be like."""

    @abstractmethod
    def validate(self, dataset: pd.DataFrame) -> ValidationReport:
        """Compares rows with the profile."""


class Profiler(ABC):
    """Makes a profile of rows that are as they should be."""

    @abstractmethod
    def analyze_dataset(self, dataset: pd.DataFrame) -> Profile:
        """Returns the profile of these rows."""


class ValidationReference(Definition):
    """A saved dataset together with a profiler: later rows are compared with the profile of its rows.

    It is handed to `RetrievalJob.to_df`, to `to_arrow`, and to `FeatureStore.validate_logged_features`. The registry
    keeps all of it but the profiler, which is loaded from the feature repository: a reference that other processes are
    to use stands at the top level of one of its files.

    Args:
        name: its name.
        dataset_name: the saved dataset's.
        profiler: makes the profile.
    """

    object_type = "validation reference"
    _spec = spec_of(dataset_name="", profiler_path="")

    dataset_name: str
    profiler: Profiler | None = None
    profiler_path: str
    _dataset: SavedDataset | None = None
    _profile: Profile | None = None

    def __init__(
        self,
        name: str,
        dataset_name: str,
        profiler: Profiler | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ):
        subject = f"ValidationReference {name!r}"
        self._init_meta(name, description, tags, "")
        check_name(dataset_name, "SavedDataset")
        if profiler is not None and not callable(getattr(profiler, "analyze_dataset", None)):
            raise DefinitionError(
                f"{subject}: profiler must have a method analyze_dataset(dataset), as a Profiler has; got "
                f"{shown(profiler)}."
            )
        self.dataset_name = dataset_name
        self.profiler = profiler
        self.profiler_path = "" if profiler is None else f"{type(profiler).__module__}:{type(profiler).__qualname__}"

    @classmethod
    def from_saved_dataset(cls, name: str, dataset: SavedDataset, profiler: Profiler) -> ValidationReference:
        """Returns a reference to a saved dataset that a feature store gave."""
        reference = cls(name, dataset.name, profiler)
        return reference.attach(dataset, profiler)

    @property
    def has_rows(self) -> bool:
        """Whether it comes with the rows to compare with."""
        return self._dataset is not None

    def attach(self, dataset: SavedDataset, profiler: Profiler | None) -> ValidationReference:
        """Sets the rows to compare with, and what makes their profile."""
        self._dataset = dataset
        self.profiler = profiler
        return self

    def __repr__(self) -> str:
        return f"ValidationReference(name={self.name!r}, dataset_name={self.dataset_name!r})"

    @property
    def profile(self) -> Profile:
        """The profile of the saved dataset; made once.

        Raises:
            InputError: there is no profiler, or the reference was not made of a saved dataset.
        """
        if self._profile is None:
            if self._dataset is None:
                raise InputError(
                    f"{self!r} has no rows to compare with; make it with "
                    f"store.get_saved_dataset({self.dataset_name!r}).as_reference(...)."
                )
            if self.profiler is None:
                raise InputError(f"{self!r} has no profiler; give it one.")
            self._profile = self._dataset.get_profile(self.profiler)
        return self._profile
