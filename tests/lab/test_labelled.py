"""Batches of labelled images: what they show, how they change it, and that they depend on their seeds alone."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from problems import random

from kadam.lab.data.images import Arrays, Images, load_images
from kadam.lab.data.labelled import Augmentation, Batches, Counts, Labelled, Seeds, split
from kadam.lab.data.upload import uploaded

N, HEIGHT, WIDTH = 24, 6, 8
SEEDS = Seeds(1, 2, 3)
AS_IT_IS = Augmentation(flip=False, shift=0, cutout=0)
CPU = torch.device("cpu")


def labelled(n=N, dtype=torch.float64):
    # Every label is the number of its image; no pixel is zero.
    return Labelled((random(n, HEIGHT, WIDTH, 3).abs() + 0.1).to(dtype), torch.arange(n), n)


def batches(change=AS_IT_IS, seeds=SEEDS, size=4, data=None):
    return Batches(labelled() if data is None else data, change, size, seeds)


def shown(change, epochs=20):
    # Pairs of a changed image and the one that it comes from, (height, width, channels).
    data = labelled()
    several = batches(change, size=N)
    for images, labels in map(several.__getitem__, range(epochs)):
        yield from zip(images.permute(0, 2, 3, 1).numpy(), data.images[labels].numpy(), strict=True)


def same(one, other):
    return all(torch.equal(x, y) for x, y in zip(one, other, strict=True))


def test_a_batch_is_a_function_of_its_number_and_the_seeds():
    wanted = [7, 0, 23, 5, 6, 7, 0]  # of several epochs, out of order
    one, fresh = batches(Augmentation()), [batches(Augmentation())[n] for n in wanted]
    assert all(same(one[n], batch) for n, batch in zip(wanted, fresh, strict=True))
    assert not same(fresh[0], fresh[1])


def test_the_seed_of_the_order_changes_whose_turn_it_is_and_not_how_places_change():
    cut = Augmentation(flip=False, shift=0, cutout=3)
    (one, labels), (other, others) = batches(cut, size=N)[0], batches(cut, SEEDS._replace(order=9), size=N)[0]
    assert not torch.equal(labels, others)
    assert torch.equal(one == 0, other == 0)


def test_the_seed_of_the_augmentation_changes_images_and_not_their_order_that_of_the_weights_neither():
    (one, labels), (other, others) = batches(Augmentation())[0], batches(Augmentation(), SEEDS._replace(augmentation=9))[0]
    assert same(batches(Augmentation(), SEEDS._replace(initialisation=9))[0], (one, labels))
    assert torch.equal(labels, others)
    assert not torch.equal(one, other)


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own():
    several = batches()
    first, second = ([several[n][1] for n in range(start, start + N // 4)] for start in (0, N // 4))
    assert sorted(torch.cat(first).tolist()) == sorted(torch.cat(second).tolist()) == list(range(N))
    assert not same(first, second)


def test_what_does_not_fill_a_batch_is_left_out():
    several = batches(size=10)
    labels = torch.cat([several[0][1], several[1][1]]).tolist()
    assert several.per_epoch == 2
    assert len(set(labels)) == 20


def test_without_augmentation_a_batch_is_the_images_with_their_labels():
    data = labelled()
    images, labels = batches()[2]
    assert images.shape == (4, 3, HEIGHT, WIDTH)
    assert torch.equal(images, data.images[labels].permute(0, 3, 1, 2))


def test_labels_stay_with_their_images():
    data = Labelled(labelled().images, torch.arange(N) % 5, 5)
    numbers, labels = batches()[1][1], batches(data=data)[1][1]
    assert torch.equal(labels, numbers % 5)


def test_half_of_the_images_are_mirrored():
    mirrored = []
    for image, source in shown(Augmentation(flip=True, shift=0, cutout=0)):
        mirrored.append(np.array_equal(image, source[:, ::-1]))
        assert mirrored[-1] or np.array_equal(image, source)
    assert 0.43 < np.mean(mirrored) < 0.57  # three deviations


@pytest.mark.parametrize("shift", [1, 2, 4])
def test_a_shifted_image_is_a_crop_of_the_image_with_its_mirror_image_around(shift):
    seen = set()
    for image, source in shown(Augmentation(flip=False, shift=shift, cutout=0), epochs=60):
        wide = np.pad(source, ((shift, shift), (shift, shift), (0, 0)), mode="reflect")
        places = [(i, j) for i in range(2 * shift + 1) for j in range(2 * shift + 1)]
        (place,) = [(i, j) for i, j in places if np.array_equal(image, wide[i : i + HEIGHT, j : j + WIDTH])]
        seen.add(place)
    assert len(seen) == (2 * shift + 1) ** 2


@pytest.mark.parametrize("side", [1, 3, 4])
def test_cutout_takes_a_square_clipped_at_the_border_and_nothing_else(side):
    rows, columns = ([set(range(n)[max(c - side // 2, 0) : c - side // 2 + side]) for c in range(n)] for n in (HEIGHT, WIDTH))
    seen = set()
    for image, source in shown(Augmentation(flip=False, shift=0, cutout=side)):
        gone = (image == 0).all(-1)
        place = set(np.flatnonzero(gone.any(1))), set(np.flatnonzero(gone.any(0)))
        seen.add((rows.index(place[0]), columns.index(place[1])))
        assert np.array_equal(gone, np.outer(gone.any(1), gone.any(0)))
        assert np.array_equal(image, np.where(gone[..., None], 0, source))
    assert len(seen) == len({*map(tuple, rows)}) * len({*map(tuple, columns)})


def test_all_changes_together_come_one_after_another():
    for image, source in shown(Augmentation(flip=True, shift=1, cutout=3), epochs=3):
        wide = np.pad(source, ((1, 1), (1, 1), (0, 0)), mode="reflect")
        crops = [wide[i : i + HEIGHT, j : j + WIDTH] for i in range(3) for j in range(3)]
        kept = image != 0
        assert any(np.array_equal(image, np.where(kept, c, 0)) for crop in crops for c in (crop, crop[:, ::-1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batches_lie_in_channels_last_memory_in_the_type_of_the_data(dtype):
    images, _ = batches(Augmentation(), data=labelled(dtype=dtype))[0]
    assert images.dtype == dtype
    assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [0, -1, N + 1])
def test_a_batch_must_fit_the_data(size):
    with pytest.raises(ValueError, match=f"from 1 to the number of training images, {N}, got {size}"):
        batches(size=size)


@pytest.mark.parametrize("shift", [-1, HEIGHT])
def test_a_shift_must_be_smaller_than_the_image(shift):
    with pytest.raises(ValueError, match=f"shift must be from 0 to {HEIGHT - 1}, below the images' side, got {shift}"):
        batches(Augmentation(shift=shift))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            torch.ones(2, 4, 4),
            torch.arange(2),
            "floats (n, height, width, channels), n >= 1, got torch.float32 of shape (2, 4, 4)",
        ),
        (torch.ones(2, 4, 4, 1, dtype=torch.uint8), torch.arange(2), "images must be floats"),
        (torch.ones(0, 4, 4, 1), torch.arange(0), "images must be floats"),
        (torch.full((2, 4, 4, 1), torch.nan), torch.arange(2), "finite"),
        (torch.full((2, 4, 4, 1), torch.inf), torch.arange(2), "finite"),
        (torch.ones(2, 4, 4, 1), torch.arange(3), "labels must be int64, one an image, (2,), got torch.int64 of shape (3,)"),
        (torch.ones(2, 4, 4, 1), torch.zeros(2, 1, dtype=torch.int64), "labels must be int64"),
        (torch.ones(2, 4, 4, 1), torch.arange(2, dtype=torch.int32), "labels must be int64"),
        (torch.ones(2, 4, 4, 1), torch.tensor([0, 3]), "labels must lie in 0..2, got 0 to 3"),
        (torch.ones(2, 4, 4, 1), torch.tensor([-1, 2]), "labels must lie in 0..2, got -1 to 2"),
    ],
)
def test_what_is_no_set_of_labelled_images_is_refused(images, labels, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Labelled(images, labels, 3)


def some_images(origin="folder"):
    # 20 training images and 10 to test, each with a label of its own.
    pixels = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 2), dtype=np.uint8)
    none, labels = np.empty(0, np.int64), np.arange(30)
    arrays = pixels[:20], labels[:20], pixels[20:], labels[20:], none, none
    return Images("toys", tuple(map(str, labels)), origin, "", lambda: Arrays(*map(np.copy, arrays)))


def halves(counts, origin="folder", dtype=torch.float64):
    return split(some_images(origin), counts, pixels=2, device=CPU, dtype=dtype)


def test_splits_share_no_image_and_come_from_their_ends():
    train, validation, test = (part.labels.tolist() for part in halves(Counts(8, 5, 7)))
    assert (train, validation, test) == (list(range(8)), list(range(15, 20)), list(range(20, 27)))


def test_images_are_averaged_and_standardised_by_those_of_training_alone():
    parts, images = halves(Counts(8, 5, 7)), some_images()
    pixels = np.concatenate([images.train, images.test]).astype(float)
    means = pixels.reshape(30, 2, 2, 2, 2, 2).mean((2, 4))
    mean, deviation = means[:8].mean((0, 1, 2)), means[:8].std((0, 1, 2))
    for part in parts:
        np.testing.assert_allclose(part.images, (means[part.labels] - mean) / deviation, rtol=1e-12, atol=1e-12)
    assert abs(parts.train.images.mean()) < 1e-12
    assert abs(parts.train.images.std(correction=0) - 1) < 1e-12
    assert abs(parts.test.images.mean()) > 1e-3


@pytest.mark.parametrize("counts", [Counts(16, 5, 7), Counts(8, 5, 11), Counts(0, 5, 7), Counts(8, 0, 7), Counts(8, 5, 0)])
def test_more_images_than_there_are_or_none_are_refused(counts):
    with pytest.raises(ValueError, match=r"toys has .* training images beside those to validate, 10 to test"):
        halves(counts)


def test_a_stand_in_gives_what_it_has():
    assert [len(part) for part in halves(Counts(1000, 1000, 1000), "embedded")] == [16, 4, 10]


def test_the_digits_are_split_at_their_own_size():
    digits = load_images(embedded=True)
    parts = split(digits, Counts(5000, 1000, 2000), pixels=16, device=CPU, dtype=torch.float64)
    assert [part.images.shape for part in parts] == [(1200, 8, 8, 1), (300, 8, 8, 1), (297, 8, 8, 1)]
    assert np.array_equal(np.concatenate([parts.train.labels, parts.validation.labels]), digits.train_labels)


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_what_is_drawn_goes_to_a_gpu_from_memory_that_stays_in_its_place(kind, monkeypatch):
    asked, device = [], SimpleNamespace(type=kind)

    def drawn(kind):
        to = lambda device, *, non_blocking: asked.append((kind, device, non_blocking))  # noqa: E731
        return SimpleNamespace(to=to, pin_memory=lambda: drawn("pinned"))

    monkeypatch.setattr(torch, "from_numpy", drawn)
    uploaded("pageable", device)
    assert asked == [("pinned" if kind == "cuda" else "pageable", device, True)]
