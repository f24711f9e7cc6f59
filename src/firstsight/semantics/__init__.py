"""Descriptions of classes -> class embeddings: tables, sentences, given vectors."""

from typing import Any

OF_TEXT = ("ClassText", "join", "prompt_embeddings", "text_embeddings")  # the documentation shows them here


def __getattr__(name: str) -> Any:
    """Import what reads text when it is first asked for: that takes torch."""
    if name not in OF_TEXT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from firstsight.semantics import text

    return getattr(text, name)
