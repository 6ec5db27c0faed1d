"""``python -m feast_assets.cli``: the command line where its script is not on the path."""

from feast_assets.cli.main import main

main()
