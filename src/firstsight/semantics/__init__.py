"""Descriptions of classes -> class embeddings: tables, sentences, given vectors."""
