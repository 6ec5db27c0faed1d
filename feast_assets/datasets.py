"""Saved datasets: training sets that are kept in files, and what they are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from feast_assets.auth.identity import acting_identity
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.saved_dataset import SavedDataset, SavedDatasetStorage
from feast_assets.errors import InputError, shown
from feast_assets.retrieving import Retrieving

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from feast_assets.retrieval.job import RetrievalJob


_REPLACE = (AuthzedAction.DESCRIBE, AuthzedAction.UPDATE, AuthzedAction.WRITE_OFFLINE)


class Datasets(Retrieving):
    """The verbs of saved datasets."""

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
        self._check_dataset(name, storage, tags)
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
        snapshot = self._cache.fresh()
        if self.access.log.is_on:
            self.access.log.done("write_dataset", acting_identity(), [name])
        return self._readable(snapshot.saved_dataset(name))

    def _check_dataset(self, name: str, storage: SavedDatasetStorage, tags: Mapping[str, str] | None) -> None:
        """Checks that the acting identity may save a dataset under a name."""
        if self.access.is_open:
            return
        snapshot = self._cache.fresh()
        before = snapshot.get(SavedDataset.object_type, name)
        after = SavedDataset(name=name, features=[], join_keys=[], storage=storage, tags=tags)
        if before is None:
            self.access.check(snapshot, [after], AuthzedAction.CREATE, AuthzedAction.WRITE_OFFLINE)
        else:
            self.access.check(snapshot, [before, after], *_REPLACE)

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
        return self._readable(self._described(self._cache.fresh().saved_dataset(name)))

    def _readable(self, dataset: SavedDataset) -> SavedDataset:
        from feast_assets.retrieval.saved_dataset import read_saved_dataset

        # Another project may be the current one when the rows are read.
        access, cache = self.access, self._cache

        def read() -> pa.Table:
            if not access.is_open:
                access.check(cache.get(), [dataset], AuthzedAction.READ_OFFLINE)
            return read_saved_dataset(dataset, self.repo_path)

        return dataset.attach(read)

    def retrieve_dataset_data(self, name: str, limit: int = 10) -> pd.DataFrame:
        """Returns the first rows of a saved dataset.

        Raises:
            SavedDatasetNotFound: there is no such dataset.
            SourceError: its file is gone or damaged.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise InputError(f"limit must be a whole number of at least 0, not {shown(limit)}.")
        return self._readable(self._cache.fresh().saved_dataset(name)).to_df().head(limit)
