"""The offline server: history by Arrow Flight, for ``remote`` offline stores of this package and of Feast."""

from feast_assets.serving.listening import check_installed

check_installed("The offline server", ("msgspec",), "remote")
