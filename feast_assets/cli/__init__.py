"""The command line, ``feast-assets``. Modules here import only click at the top: help and version must be instant."""
