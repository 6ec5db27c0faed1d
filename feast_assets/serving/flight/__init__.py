"""The offline server: history by Arrow Flight, for ``remote`` offline stores of this package and of Feast."""
