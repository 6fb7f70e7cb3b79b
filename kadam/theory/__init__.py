"""The mathematics, in float64 with numpy and scipy; never torch."""
