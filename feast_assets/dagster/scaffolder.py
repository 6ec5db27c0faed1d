"""What `dg scaffold defs feast_assets.dagster.FeatureRepoComponent NAME` writes."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
from pydantic import BaseModel, Field

from feast_assets.cli.scaffold import scaffold
from feast_assets.definitions.project import check_project_name
from feast_assets.errors import InputError

_NEW = "feature_repo"


class FeatureRepoParams(BaseModel):
    """What may be said when the component is scaffolded."""

    repo_path: str | None = Field(
        default=None,
        description="A feature repository, seen from the current folder. [default: a new one beside defs.yaml]",
    )


class FeatureRepoScaffolder(dg.Scaffolder[FeatureRepoParams]):
    """Writes the component's ``defs.yaml``, and a new feature repository beside it if none is named."""

    @classmethod
    def get_scaffold_params(cls) -> type[FeatureRepoParams]:
        """Returns the class of the parameters."""
        return FeatureRepoParams

    def scaffold(self, request: dg.ScaffoldRequest[FeatureRepoParams]) -> None:
        """Writes the files.

        Raises:
            DefinitionError: the component's name cannot be a project's.
            InputError: there is something where the new repository would be.
        """
        attributes: dict[str, object] = {"repo_path": _NEW}
        given = request.params.repo_path
        if given is not None:
            folder = request.target_path.parent if request.append else request.target_path
            attributes["repo_path"] = os.path.relpath(Path(given).resolve(), folder.resolve())
        elif request.append:
            raise InputError("Give --repo-path: a new feature repository needs a folder of its own.")
        else:
            scaffold("minimal", request.target_path, check_project_name(request.target_path.name))
        dg.scaffold_component(request, attributes)
