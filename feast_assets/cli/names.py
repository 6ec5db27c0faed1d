"""Invents names for projects."""

from __future__ import annotations

import random

_ADJECTIVES = """
amber brave brisk calm clever cosmic crisp daring eager early fair fleet gentle golden honest humble jolly keen kind
lively lucid mellow merry nimble noble patient polite proud quick quiet ready silver steady sunny swift tidy vivid warm
wise witty
"""
_ANIMALS = """
alpaca badger beaver bison crane dolphin eagle egret ferret finch fox gazelle gecko hare heron ibex jackdaw koala lemur
lynx marmot marten mole moose newt otter owl panda petrel puffin quail raven robin seal sparrow stork tern viper walrus
wombat
"""


def random_project_name() -> str:
    """Returns a name such as ``nimble_otter``."""
    # A name to tell projects apart, not a secret.
    return "_".join(random.choice(words.split()) for words in (_ADJECTIVES, _ANIMALS))  # noqa: S311
