"""Chapter 10: every question of the four public reviews, answered from the ledger. It trains nothing."""
