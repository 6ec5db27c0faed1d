"""Assets of the example's own around its features: one makes a source, and a model is trained and asked from others.

* `fleet.planes` loads a DuckDB table, which is the source ``planes`` of the feature view ``plane``;
* `lateness.late_departures` is a training set of the feature service ``departure_delay``, a file for each week;
* `lateness.lateness_model` is trained on all weeks that there are;
* `lateness.lateness_scores` are its answers for the flights of a day, from what was known an hour before each.
"""

import dagster as dg

from own_assets.fleet import FLEET_DATABASE, planes
from own_assets.lateness import late_departures, lateness_model, lateness_scores

OWN_ASSETS = [planes, late_departures, lateness_model, lateness_scores]
OWN_JOBS = [
    dg.define_asset_job("load_planes", selection=[planes], description="Loads the table of planes anew."),
    dg.define_asset_job(
        "train_lateness",
        selection=[late_departures, lateness_model],
        description="Makes the training sets of some weeks, and the model of all weeks that there are.",
    ),
    dg.define_asset_job(
        "score_lateness", selection=[lateness_scores], description="Asks the model about the flights of a day."
    ),
]

__all__ = ["FLEET_DATABASE", "OWN_ASSETS", "OWN_JOBS", "planes"]
