"""What the experiments of chapter 9 on networks have in common: their sizes, by profile."""

from kadam.lab.records.profiles import Sizes

LAPTOP = Sizes(examples=512)
SMALL = Sizes(width=4, channels=2, examples=64, text="embedded", images="embedded")
LARGE = Sizes(context=64, width=64, layers=2, heads=4, channels=16, pixels=16, examples=16384, device="cuda")
