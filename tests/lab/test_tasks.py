"""What the networks on scale invariance train on: reproducible batches, weights of any size, and data named truthfully."""

import functools
import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kadam.lab.data import images
from kadam.lab.data import sources as data
from kadam.lab.data.configured import configured_sets
from kadam.lab.records.profiles import LAPTOP, PAPER, SMOKE, Sizes
from kadam.lab.train.tasks import IMAGE_WEIGHTS, LANGUAGE_WEIGHTS, Inputs

KINDS = ["language", "images"]


@pytest.fixture(scope="module")
def inputs():
    return Inputs.of(SMOKE)


@pytest.fixture
def task(inputs, request):
    return inputs.language(1) if request.param == "language" else inputs.classification(1)


both = pytest.mark.parametrize("task", KINDS, indirect=True)


def some(task, seed=0, count=3, **kwargs):
    """The first batches, each a list of tensors."""
    batches = task.batches(np.random.default_rng(seed), 4, **kwargs)
    return [
        [batch] if isinstance(batch, torch.Tensor) else list(batch) for _, batch in zip(range(count), batches, strict=False)
    ]


def same(one, other):
    return all(torch.equal(x, y) for x, y in zip(one, other, strict=True))


@both
def test_batches_are_random_and_reproducible_by_their_seed(task):
    first, again, other = some(task), some(task), some(task, seed=1)
    assert all(same(x, y) for x, y in zip(first, again, strict=True))
    assert not any(same(x, y) for x, y in zip(first, other, strict=True))
    assert not same(first[0], first[1])


@both
def test_a_fixed_batch_is_the_first_one_again_and_again(task):
    fixed = some(task, fixed=True, count=4)
    assert all(same(batch, some(task)[0]) for batch in fixed)


def test_examples_are_windows_of_text_with_the_next_character(inputs):
    (windows,) = some(inputs.language(1))[0]
    assert windows.shape == (4, SMOKE.context + 1)
    text = inputs.text
    for window in windows.tolist():
        assert "".join(text.vocabulary[i] for i in window) in text.characters


def test_examples_are_images_with_their_own_labels_none_of_them_twice(inputs):
    batch, labels = inputs.classification(1).draw(np.random.default_rng(0), SMOKE.examples)
    assert batch.shape == (SMOKE.examples, 1, SMOKE.pixels, SMOKE.pixels)
    known = {image.tobytes(): label for image, label in zip(inputs.images.images, inputs.images.labels, strict=True)}
    drawn = {image.tobytes(): label for image, label in zip(batch.numpy(), labels.numpy(), strict=True)}
    assert drawn == known
    assert len(inputs.images.labels) == SMOKE.examples


@both
def test_the_watched_weights_are_scale_invariant(task):
    task.check(task.draw(np.random.default_rng(0), 4))
    assert task.weights in (LANGUAGE_WEIGHTS, IMAGE_WEIGHTS)


@both
def test_a_watched_weight_that_is_not_scale_invariant_is_refused(task):
    spoiled = replace(task, weights={**task.weights, "head": "head.weight"})
    with pytest.raises(ValueError, match=r"head.weight is not scale invariant"):
        spoiled.check(task.draw(np.random.default_rng(0), 4))


@both
@pytest.mark.parametrize("mean_square", [1e-3, 10.0])
def test_watched_weights_may_have_any_size_and_the_loss_does_not_notice(task, mean_square):
    batch = task.draw(np.random.default_rng(0), 4)
    before, loss = {name: p.clone() for name, p in task.model.named_parameters()}, task.loss(task.model, batch)
    task.resize(mean_square)
    assert task.loss(task.model, batch).item() == pytest.approx(loss.item(), rel=1e-12)
    for name, p in task.model.named_parameters():
        watched = name in task.weights.values()
        assert torch.equal(p, before[name]) != watched
        if watched:
            assert p.square().mean().item() == pytest.approx(mean_square, rel=1e-13)
            assert torch.cosine_similarity(p.flatten(), before[name].flatten(), dim=0).item() == pytest.approx(1, rel=1e-14)


@both
def test_a_task_is_in_double_precision_and_its_seed_gives_its_weights(inputs, task):
    again, other = ((inputs.language if task.weights == LANGUAGE_WEIGHTS else inputs.classification)(seed) for seed in (1, 2))
    assert {p.dtype for p in task.model.parameters()} == {torch.float64}
    assert same(task.model.parameters(), again.model.parameters())
    assert not any(torch.equal(p, q) for p, q in zip(task.model.parameters(), other.model.parameters(), strict=True))


def test_without_normalisation_no_weight_is_watched_and_the_start_is_the_same(inputs):
    plain, normalised = inputs.classification(1, normalised=False), inputs.classification(1)
    assert plain.weights == {}
    assert normalised.weights == IMAGE_WEIGHTS
    assert same(plain.model.parameters(), normalised.model.parameters())
    assert same(some(plain)[0], some(normalised)[0])
    with pytest.raises(ValueError, match=r"convolutions.1.weight is not scale invariant"):
        replace(plain, weights=IMAGE_WEIGHTS).check(plain.draw(np.random.default_rng(0), 4))


@pytest.mark.parametrize("name", ["context", "width", "layers", "heads", "channels", "pixels", "examples"])
@pytest.mark.parametrize("bad", [0, 1.5])
def test_sizes_are_whole_numbers_of_at_least_one(name, bad):
    with pytest.raises(ValueError, match=f"^{name} must be a whole number >= 1, got {bad}"):
        Sizes(**{name: bad})


@pytest.mark.parametrize(("name", "bad"), [("text", "latin"), ("images", "mnist")])
def test_sizes_name_the_data_they_know(name, bad):
    with pytest.raises(ValueError, match=f"^{name} must be one of real, embedded; got '{bad}'"):
        Sizes(**{name: bad})


def test_only_the_smoke_profile_chooses_embedded_data():
    assert {(sizes.text, sizes.images) for sizes in (LAPTOP, PAPER)} == {("real", "real")}
    assert (SMOKE.text, SMOKE.images) == ("embedded", "embedded")


@pytest.fixture
def small_sources(tmp_path, monkeypatch):
    """ "Real" data in place of the large ones: a text, and a file that holds no images, so that decoding it fails."""
    contents = {"small.txt": b"to be, or not to be", "small.npz": b"no images"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = {name: (data.File(name, hashlib.sha256(content).hexdigest()),) for name, content in contents.items()}
    text, pictures = replace(data.TINY_SHAKESPEARE, files=found["small.txt"]), replace(data.CIFAR10, files=found["small.npz"])
    monkeypatch.setenv("KADAM_DATA", str(tmp_path))
    monkeypatch.setattr(data, "load_text", functools.partial(data.load_text, text))
    monkeypatch.setattr(images, "load_images", functools.partial(images.load_images, pictures))


def sets(**choices):
    return configured_sets(SimpleNamespace(sizes=replace(SMOKE, **choices)), fetch=False)


@pytest.mark.usefixtures("small_sources")
def test_the_hash_of_the_data_is_of_both_sets_and_found_without_decoding_any():
    choices = [{"text": text, "images": pictures} for text in ("real", "embedded") for pictures in ("real", "embedded")]
    assert len({sets(**choice).sha256 for choice in choices}) == 4
    assert [sets(**choice).origin for choice in choices] == ["folder", "embedded", "embedded", "embedded"]
    with pytest.raises(data.DataError):  # so nothing was decoded
        _ = images.configured_images(SimpleNamespace(images="real"), fetch=False).train
    assert sets(width=16, examples=32).sha256 == sets().sha256


def test_the_label_of_the_data_names_both_sets(inputs):
    assert sets().label == (
        "embedded excerpt of tiny Shakespeare (65,536 characters) and "
        "scikit-learn's digits, standing in for CIFAR-10 (1,797 images)"
    )
    assert inputs.described == data.describe(sets())


@pytest.mark.usefixtures("small_sources")
def test_the_label_of_real_data_names_both_sets():
    assert sets(text="real", images="real").label == "tiny Shakespeare and CIFAR-10"
