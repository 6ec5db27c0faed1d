"""Logs of served features: writing them, and comparing them with what they should be."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.auth.identity import acting_identity
from feast_assets.datasets import Datasets
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.feature_logging import FileLoggingDestination, LoggingConfig
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.spec import as_utc
from feast_assets.definitions.validation_reference import ValidationReference
from feast_assets.errors import InputError, NotSupportedError, ValidationFailed, shown
from feast_assets.repository.user_profilers import UserProfilers

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.retrieval.job import Batches, RetrievalJob
    from feast_assets.retrieval.logged_features import FeatureLogger, LogColumns


class FeatureLogs(Datasets):
    """The verbs of logs of served features.

    Attributes:
        _profilers: finds the profilers of validation references.
    """

    if TYPE_CHECKING:

        @property
        def _profilers(self) -> UserProfilers: ...

    def write_logged_features(self, logs: pa.Table | Path, source: FeatureService) -> None:
        """Adds logs of served features to the destination of a feature service.

        Args:
            logs: what was served: an Arrow table, or the path of a Parquet file or of a folder of such. It has the
                columns that `feast_assets.retrieval.logged_features` describes.
            source: the service, whose ``logging_config`` names the destination.

        Raises:
            InputError: the logs are not those of the service, or it has no ``logging_config``; nothing was written.
            FeatureServiceNotFoundException: the service is not registered.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from feast_assets.offline_stores.files.log_files import write_logs
        from feast_assets.retrieval.logged_features import unreadable_logs

        service, columns = self._logged(source, AuthzedAction.WRITE_OFFLINE)
        if isinstance(logs, Path):
            try:
                logs = pq.read_table(logs)
            except (pa.ArrowException, OSError) as error:
                raise unreadable_logs(logs, error) from error
        if not isinstance(logs, pa.Table):
            raise InputError(f"logs must be an Arrow table or the path of Parquet files, not {shown(logs)}.")
        folder, partition_by = self._destination(service)
        write_logs(folder, columns.checked(logs), partition_by)
        if self.access.log.is_on:
            self.access.log.done("write_logs", acting_identity(), [service.name], rows=len(logs))

    def feature_logger(self, source: FeatureService) -> FeatureLogger:
        """Returns what makes log rows of the service's online answers, for `write_logged_features`.

        It draws which requests are logged, by the ``sample_rate`` of the service's ``logging_config``.
        """
        from feast_assets.retrieval.logged_features import FeatureLogger

        service, columns = self._logged(source, AuthzedAction.READ_ONLINE)
        config = service.logging_config
        assert config is not None
        return FeatureLogger(self._online_plan(service, full_feature_names=False), columns, config)

    def validate_logged_features(
        self,
        source: FeatureService,
        start: datetime,
        end: datetime,
        reference: ValidationReference,
        throw_exception: bool = True,
        cache_profile: bool = True,
    ) -> ValidationFailed | None:
        """Compares logs of served features with a validation reference.

        Args:
            source: the service, of whose ``logging_config`` the destination is read.
            start, end: when the features were served, both included; naive is UTC.
            reference: what the logs are compared with.
            throw_exception: whether a difference is raised, and not returned.
            cache_profile: whether the reference is registered after a success, so that
                `get_validation_reference` returns it.

        Returns:
            None where nothing differs.

        Raises:
            ValidationFailed: the logs differ, and ``throw_exception`` is true.
            InputError: an argument is wrong, or the service has no ``logging_config``.
        """
        if not isinstance(reference, ValidationReference):
            raise InputError(f"reference must be a ValidationReference, not {shown(reference)}.")
        job = self._logs(source, start, end)
        try:
            rows = job.to_arrow(validation_reference=self._complete(reference))
        except ValidationFailed as failure:
            if throw_exception:
                raise
            return failure
        print(f"{len(rows)} rows were validated.")  # as Feast does
        if cache_profile:
            self.apply(reference)
        return None

    def get_validation_reference(self, name: str, allow_cache: bool = False) -> ValidationReference:
        """Returns a validation reference that rows can be compared with.

        Its profiler is the one that this process applied it with, or the feature repository's.

        Raises:
            ValidationReferenceNotFound: there is no such reference.
            SavedDatasetNotFound: its saved dataset is gone.
            RepositoryError: its profiler is not found.
        """
        return self._complete(self._described(self._registered(allow_cache).validation_reference(name)))

    def _complete(self, reference: ValidationReference) -> ValidationReference:
        """Returns a reference with its rows and its profiler."""
        if reference.has_rows:
            return reference
        profiler = reference.profiler or self._profilers.of(reference)
        return reference.attach(self._readable(self._cache.fresh().saved_dataset(reference.dataset_name)), profiler)

    def _logged(self, source: object, action: AuthzedAction) -> tuple[FeatureService, LogColumns]:
        """Returns the registered service, and what its log holds."""
        from feast_assets.retrieval.logged_features import LogColumns

        if not isinstance(source, FeatureService):
            raise InputError(f"The source of logs must be a FeatureService, not {shown(source)}.")
        snapshot = self._cache.fresh()
        service = snapshot.feature_service(source.name)
        if not self.access.is_open:
            self.access.check(snapshot, [service], action)
        service.logging_config = service.logging_config or source.logging_config
        if not isinstance(service.logging_config, LoggingConfig):
            raise InputError(
                f"Feature service {source.name!r} says nowhere that it is logged; give it "
                "logging_config=LoggingConfig(destination=FileLoggingDestination(path=...)) and apply it."
            )
        return service, LogColumns.of(snapshot, service)

    def _destination(self, service: FeatureService) -> tuple[Path, list[str]]:
        """Returns the folder of a service's logs, and the columns that are folders in it."""
        from feast_assets.offline_stores.files.source_files import local_path

        destination = None if service.logging_config is None else service.logging_config.destination
        if isinstance(destination, FileLoggingDestination):
            folder = local_path(destination.path, self.repo_path)
            if folder is not None:
                return Path(folder), list(destination.partition_by or ())
        raise NotSupportedError(
            f"Feature service {service.name!r}: logs are written to local folders only, not to "
            f"{shown(getattr(destination, 'path', destination))}."
        )

    def _logs(self, source: FeatureService, start: datetime, end: datetime) -> RetrievalJob:
        """Returns what reads the logs of a stretch of time."""
        from feast_assets.retrieval.job import RetrievalJob, RetrievalMetadata

        for name, value in (("start", start), ("end", end)):
            if not isinstance(value, datetime):
                raise InputError(f"{name} must be a datetime, not {shown(value)}.")
        first, last = as_utc(start), as_utc(end)
        if first > last:
            raise InputError(f"start {shown(start)} is later than end {shown(end)}.")
        service, columns = self._logged(source, AuthzedAction.READ_OFFLINE)
        folder, partition_by = self._destination(service)
        return RetrievalJob(
            partial(_read, folder, columns, partition_by, first, last),
            metadata=RetrievalMetadata(list(columns.features), list(columns.given), first, last),
            full_feature_names=True,
            on_demand_feature_views=[],
            root=self.repo_path,
            feature_types=columns.types,
        )


def _read(folder: Path, columns: LogColumns, partition_by: list[str], start: datetime, end: datetime) -> Batches:
    from feast_assets.offline_stores.files.log_files import read_logs
    from feast_assets.retrieval.job import Batches

    logs = read_logs(folder, columns.schema, partition_by, start, end)
    return Batches(logs.schema, iter(logs.to_batches()))
