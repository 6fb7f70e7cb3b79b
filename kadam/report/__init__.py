"""Figures, the claims ledger and their style: from records alone, without torch."""
