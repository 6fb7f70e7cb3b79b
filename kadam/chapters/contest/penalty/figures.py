"""The figure of decoupled decay against a penalty, with the numbers that it shows."""
