"""Texts and how they reach the network: cache (fetch, verify, place), corpora, vocabulary, batches."""
