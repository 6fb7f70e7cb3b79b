"""What the pages of a contest on CIFAR-10 have to themselves."""

import xarray as xr

from kadam.chapters.contest.looks import parameters


def setting(record: xr.Dataset) -> str:
    """What was trained on what."""
    sizes = f"{{pixels}} x {{pixels}} pixels, {{steps}} steps, {record.sizes['seed']} seeds"
    images = "{train_images:,} images to train, {validation_images:,} to validate, {test_images:,} to test"
    return f"profile {{profile}}; {{data}}, {sizes}\n{images}; {parameters(record)}".format(**record.attrs)
