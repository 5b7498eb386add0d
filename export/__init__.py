"""Checkpoint → bundle: graphs, quantisation, the parity gate, report and model card.

Run as ``python -m export --checkpoint runs/<name>/best.pt --output models/<name>``.
"""
