"""Saved datasets: training sets that are kept in files, and what they are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.saved_dataset import SavedDataset, SavedDatasetStorage
from feast_assets.errors import InputError, shown
from feast_assets.lifecycle import Lifecycle

if TYPE_CHECKING:
    import pandas as pd

    from feast_assets.retrieval.job import RetrievalJob


class Datasets(Lifecycle):
    """The verbs of saved datasets.

    Attributes:
        repo_path: the feature repository, where relative paths start from.
    """

    repo_path: Path

    if TYPE_CHECKING:

        def get_historical_features(
            self, entity_df: object = None, features: list[str] | FeatureService = ...
        ) -> RetrievalJob: ...

    def create_saved_dataset(
        self,
        from_: RetrievalJob,
        name: str,
        storage: SavedDatasetStorage,
        tags: Mapping[str, str] | None = None,
        feature_service: FeatureService | None = None,
        allow_overwrite: bool = False,
    ) -> SavedDataset:
        """Saves the rows of a job to a file, and registers it under a name.

        Raises:
            SavedDatasetLocationAlreadyExists: the storage's path exists and ``allow_overwrite`` is false.
        """
        from feast_assets.registry.base import Changes
        from feast_assets.retrieval.job import RetrievalJob

        if not isinstance(from_, RetrievalJob):
            raise InputError(f"from_ must be what get_historical_features returned, not {shown(from_)}.")
        from_.persist(storage, allow_overwrite=allow_overwrite)
        metadata = from_.metadata
        dataset = SavedDataset(
            name=name,
            features=metadata.features,
            join_keys=metadata.keys,
            storage=storage,
            full_feature_names=from_.full_feature_names,
            tags=tags,
            feature_service_name=feature_service.name if feature_service else None,
            min_event_timestamp=metadata.min_event_timestamp,
            max_event_timestamp=metadata.max_event_timestamp,
            registry_revision=metadata.registry_revision,
        )
        self.registry.commit(Changes([dataset]))
        self._cache.fresh()
        return self.get_saved_dataset(name)

    def create_dataset_from_retrieval(
        self,
        name: str,
        entity_df: object,
        features: list[str] | FeatureService,
        storage: SavedDatasetStorage,
        tags: Mapping[str, str] | None = None,
        allow_overwrite: bool = False,
    ) -> SavedDataset:
        """Retrieves features as they were known at given times, and saves the rows under a name.

        Args:
            name, storage, tags, allow_overwrite: as in `create_saved_dataset`.
            entity_df, features: as in `get_historical_features`.
        """
        job = self.get_historical_features(entity_df, features)
        service = features if isinstance(features, FeatureService) else None
        return self.create_saved_dataset(job, name, storage, tags, service, allow_overwrite)

    def get_saved_dataset(self, name: str) -> SavedDataset:
        """Returns a saved dataset that can be read."""
        from feast_assets.retrieval.saved_dataset import read_saved_dataset

        dataset = self._cache.fresh().saved_dataset(name)
        return dataset.attach(lambda: read_saved_dataset(dataset, self.repo_path))

    def retrieve_dataset_data(self, name: str, limit: int = 10) -> pd.DataFrame:
        """Returns the first rows of a saved dataset.

        Raises:
            SavedDatasetNotFound: there is no such dataset.
            SourceError: its file is gone or damaged.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise InputError(f"limit must be a whole number of at least 0, not {shown(limit)}.")
        return self.get_saved_dataset(name).to_df().head(limit)
