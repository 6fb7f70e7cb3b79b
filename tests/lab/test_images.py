"""Images come out of their files as they went in, late and verified, and a stand-in always says so."""

import hashlib
import io
import os
import pickle
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiers import exhaustive

from kadam import cli
from kadam.lab.data import images
from kadam.lab.data import sources as data

REAL_FOLDER = Path(os.environ.get("KADAM_DATA") or Path(__file__).parents[3] / "shared" / "data")
PACKED = "small.npz"
ARCHIVE = "small.tar.gz"
JPEGS = "small_jpeg.npz"
LOSSY = {"lossy_train": np.array([1, 4], np.int32), "lossy_test": np.array([2], np.int32)}


def digest(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def small():
    """Ten images of noise, flat fields, extremes and slopes, with labels: what small files of both kinds hold."""
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    train[1], train[2] = 0, 255
    train[3] = np.where(rng.random((32, 32, 3)) < 0.5, 0, 255)
    rows, columns = np.mgrid[:32, :32][..., None]
    test = (rows * [5, 3, 1] + columns * [1, 2, 3] + rng.integers(0, 9, (4, 32, 32, 3))).astype(np.uint8)
    return SimpleNamespace(
        train=train,
        train_labels=np.array([0, 9, 1, 3, 3, 2], np.uint8),
        test=test,
        test_labels=np.array([7, 0, 0, 5], np.uint8),
    )


def packed(small, **changes):
    """The npz format: residuals of the median prediction of G, R-G, B-G, in an order of their own in each plane."""
    colours = np.concatenate([small.train, small.test]).astype(int)
    green = colours[..., 1]
    members = {"y_train": small.train_labels, "y_test": small.test_labels, **LOSSY}
    for seed, (name, plane) in enumerate({"g": green, "r": colours[..., 0] - green, "b": colours[..., 2] - green}.items()):
        framed = np.pad(plane, ((0, 0), (1, 0), (1, 0)))
        west, north, northwest = framed[:, 1:, :-1], framed[:, :-1, 1:], framed[:, :-1, :-1]
        residuals = plane - np.median([west, north, west + north - northwest], axis=0).astype(int)
        order = np.random.default_rng(seed).permutation(len(plane)).astype(np.uint16)
        stream = zlib.compress((residuals % 256).astype(np.uint8)[order].tobytes())
        members |= {f"z_{name}": np.frombuffer(stream, np.uint8), f"perm_{name}": order}
    buffer = io.BytesIO()
    np.savez(buffer, **{**members, **changes})
    return buffer.getvalue()


def archive(small, leave_out=()):
    """The binary version's archive, with two images in each training batch but the last two, which have one."""
    buffer = io.BytesIO()
    parts = [(small.train[i], small.train_labels[i]) for i in (slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5), slice(5, 6))]
    names = [f"data_batch_{i}" for i in range(1, 6)]
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, (pixels, labels) in zip([*names, "test_batch"], [*parts, (small.test, small.test_labels)], strict=True):
            rows = pixels.transpose(0, 3, 1, 2).reshape(len(labels), -1)
            content = np.column_stack([labels, rows]).astype(np.uint8).tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(content)
            if name not in leave_out:
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def jpegs(small, **changes):
    """The JPEG copy: one header, the scans one after another, and where each begins."""
    members = {"train_labels": small.train_labels, "test_labels": small.test_labels}
    for part, images_ in (("train", small.train), ("test", small.test)):
        files = [jpeg(image) for image in images_]
        (header,) = {file[: file.index(b"\xff\xda")] for file in files}
        scans = [file[len(header) : -2] for file in files]
        members["header"] = np.frombuffer(header, np.uint8)
        members[f"{part}_scan"] = np.frombuffer(b"".join(scans), np.uint8)
        members[f"{part}_offsets"] = np.cumsum([0, *map(len, scans)]).astype(np.uint32)
    buffer = io.BytesIO()
    np.savez(buffer, **{**members, **changes})
    return buffer.getvalue()


def jpeg(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=75)
    assert buffer.getvalue().endswith(b"\xff\xd9")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / "data"
    path.mkdir()
    monkeypatch.setenv("KADAM_DATA", str(path))
    return path


@pytest.fixture
def put(folder, small):
    """Write a file into the folder; the answer is a source that has its checksum, and the checksums of ``small``."""
    checksums = data.Checksums(**{name: digest(array) for name, array in vars(small).items()})

    def write(name, content, where=folder):
        where.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(content)
        file = data.File(name, hashlib.sha256(content).hexdigest(), f"https://example.org/{name}")
        return replace(data.CIFAR10, files=(file,), checksums=checksums)

    return write


@pytest.mark.parametrize(("name", "encode"), [(PACKED, packed), (ARCHIVE, archive)])
def test_both_formats_give_back_the_exact_images(put, small, name, encode):
    source = put(name, encode(small))
    loaded = images.load_images(source)
    for array in ("train", "train_labels", "test", "test_labels"):
        np.testing.assert_array_equal(getattr(loaded, array), getattr(small, array))
    assert (loaded.train.dtype, loaded.train_labels.dtype, loaded.test_labels.dtype) == (np.uint8, np.int64, np.int64)
    assert (loaded.label, loaded.origin, loaded.stand_in) == ("CIFAR-10", "folder", False)
    assert loaded.sha256 == source.files[0].sha256
    assert len(loaded.classes) == 10


def test_only_the_packed_format_has_images_that_are_not_exact(put, small):
    for name, encode, train, test in ((PACKED, packed, [1, 4], [2]), (ARCHIVE, archive, [], [])):
        source = put(name, encode(small))
        loaded = images.load_images(source)
        assert (loaded.lossy_train.tolist(), loaded.lossy_test.tolist()) == (train, test)
        assert loaded.lossy_train.dtype == np.int64
        assert images.lossy_count(source, data.locate(source)[1]) == len(train) + len(test)


def test_the_command_line_says_how_many_images_are_not_exact(put, small, monkeypatch):
    for name, encode, remark in ((PACKED, packed, "; the pixels of 3 images are not exact"), (ARCHIVE, archive, "")):
        monkeypatch.setitem(data.SOURCES, "cifar10", put(name, encode(small)))
        output = CliRunner().invoke(cli.commands, ["data", "status"]).output
        assert output.endswith(f"{name} (folder), sha256 verified{remark}\n")


def lossy(source):
    """The source with its file declared a lossy copy."""
    return replace(source, files=(replace(source.files[0], lossy="a copy", url=None),))


def test_a_jpeg_copy_is_near_in_order_and_says_that_none_of_its_images_is_exact(put, small):
    source = lossy(put(JPEGS, jpegs(small)))
    loaded = images.load_images(source)
    assert (loaded.label, loaded.origin, loaded.stand_in) == ("CIFAR-10 (a copy)", "folder, lossy", False)
    assert data.describe(loaded) == {
        "data": "CIFAR-10 (a copy)",
        "data_origin": "folder, lossy",
        "data_sha256": source.files[0].sha256,
    }
    assert (loaded.train.shape, loaded.train.dtype, loaded.test.shape) == ((6, 32, 32, 3), np.uint8, (4, 32, 32, 3))
    for ours, exact in ((loaded.train[1:3], small.train[1:3]), (loaded.test, small.test)):
        assert 0 < abs(ours.astype(int) - exact).mean() < 3 or (ours == exact).all()
    np.testing.assert_array_equal(loaded.train_labels, small.train_labels)
    assert (loaded.lossy_train.tolist(), loaded.lossy_test.tolist()) == (list(range(6)), list(range(4)))
    assert images.lossy_count(source, data.locate(source)[1]) == 10


def test_a_lossy_copy_is_taken_only_where_no_exact_one_is(put, small, tmp_path, monkeypatch):
    copy, exact = lossy(put(JPEGS, jpegs(small))), put(ARCHIVE, archive(small), where=data.download_folder())
    source = replace(exact, files=(*copy.files, *exact.files))
    loaded = images.load_images(source)
    assert (loaded.label, loaded.origin) == ("CIFAR-10", "cache")
    (data.download_folder() / ARCHIVE).unlink()
    assert images.load_images(source).origin == "folder, lossy"
    monkeypatch.delenv("KADAM_DATA")
    monkeypatch.setenv("KADAM_PACK", str(tmp_path))
    assert images.load_images(source).origin == "pack, lossy"


def test_a_jpeg_copy_that_is_damaged_or_labelled_otherwise_is_refused(put, small):
    other = small.test_labels[::-1].copy()
    with pytest.raises(data.DataError, match=rf"test_labels: sha256 is {digest(other)} after decoding, expected"):
        _ = images.load_images(lossy(put(JPEGS, jpegs(small, test_labels=other)))).train
    for broken in ({"header": np.zeros(9, np.uint8)}, {"train_offsets": np.zeros(7, np.uint32)}):
        with pytest.raises(data.DataError, match=r"small_jpeg\.npz: cannot be decoded"):
            _ = images.load_images(lossy(put(JPEGS, jpegs(small, **broken)))).train


def test_nothing_is_decoded_before_it_is_asked_for_and_then_once(put, small):
    broken = images.load_images(put(PACKED, packed(small, z_g=np.zeros(9, np.uint8))))
    assert (broken.label, broken.origin, len(broken.sha256)) == ("CIFAR-10", "folder", 64)
    assert "title='CIFAR-10'" in repr(broken)
    with pytest.raises(data.DataError, match=r"small\.npz: cannot be decoded"):
        _ = broken.train
    whole = images.load_images(put(PACKED, packed(small)))
    assert whole.train is whole.train


def test_arrays_cannot_be_written_to(put, small):
    for loaded in (images.load_images(put(PACKED, packed(small))), images.load_images(embedded=True)):
        for array in (
            loaded.train,
            loaded.train_labels,
            loaded.test,
            loaded.test_labels,
            loaded.lossy_train,
            loaded.lossy_test,
        ):
            with pytest.raises(ValueError, match="read-only"):
                array[:] = 0


def test_images_can_be_sent_to_other_processes(put, small):
    loaded = pickle.loads(pickle.dumps(images.load_images(put(PACKED, packed(small)))))
    np.testing.assert_array_equal(loaded.train, small.train)


def test_the_folder_comes_before_the_cache_and_the_cache_before_a_download(folder, put, small, monkeypatch):
    source = put(ARCHIVE, archive(small))
    put(ARCHIVE, archive(small), where=data.download_folder())
    assert images.load_images(source).origin == "folder"
    (folder / ARCHIVE).unlink()
    assert images.load_images(source).origin == "cache"
    (data.download_folder() / ARCHIVE).rename(folder / "elsewhere")

    def retrieve(url, known_hash, *, fname, path, downloader):
        assert (url, known_hash) == (source.files[0].url, f"sha256:{source.files[0].sha256}")
        return str((folder / "elsewhere").rename(path / fname))

    monkeypatch.setattr("pooch.retrieve", retrieve)
    with pytest.warns(data.StandInWarning):
        assert images.load_images(source, fetch=False).stand_in
    downloaded = images.load_images(source)
    assert downloaded.origin == "download"
    np.testing.assert_array_equal(downloaded.test, small.test)


def test_a_wrong_checksum_is_refused_at_once(folder, put, small):
    source = put(PACKED, packed(small))
    damaged = bytearray(packed(small))
    damaged[len(damaged) // 2] ^= 1
    (folder / PACKED).write_bytes(damaged)
    with pytest.raises(data.DataError) as refusal:
        images.load_images(source)
    found = hashlib.sha256(damaged).hexdigest()
    assert all(part in str(refusal.value) for part in (str(folder / PACKED), found, source.files[0].sha256))


def test_a_file_that_is_exchanged_before_it_is_decoded_is_refused(folder, put, small):
    loaded = images.load_images(put(ARCHIVE, archive(small)))
    (folder / ARCHIVE).write_bytes(archive(SimpleNamespace(**{**vars(small), "train": small.train[::-1]})))
    with pytest.raises(data.DataError, match="sha256 is"):
        _ = loaded.train


@pytest.mark.parametrize("array", ["train", "train_labels", "test", "test_labels"])
def test_arrays_that_differ_from_what_the_source_holds_are_refused(put, small, array):
    changed = getattr(small, array).copy()
    changed.flat[-1] ^= 1
    other = SimpleNamespace(**{**vars(small), array: changed})
    with pytest.raises(data.DataError, match=rf"small\.npz: {array}: sha256 is {digest(changed)} after decoding, expected"):
        _ = images.load_images(put(PACKED, packed(other))).train
    if array.endswith("labels"):  # an archive's pixels are covered by its own checksum
        with pytest.raises(data.DataError, match=rf"small\.tar\.gz: {array}: sha256"):
            _ = images.load_images(put(ARCHIVE, archive(other))).train


def test_an_archive_without_a_batch_is_refused(put, small):
    with pytest.raises(data.DataError, match=r"cannot be decoded.*data_batch_3\.bin"):
        _ = images.load_images(put(ARCHIVE, archive(small, leave_out=["data_batch_3"]))).train


class Trap:
    """Unpickling it leaves a trace."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_nothing_is_ever_unpickled(put, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = put(PACKED, packed(small, y_train=np.array([Trap()] * 6), lossy_train=np.array([Trap()])))
    with pytest.raises(data.DataError, match="allow_pickle=False"):
        _ = images.load_images(source).train
    with pytest.raises(ValueError, match="allow_pickle=False"):
        images.lossy_count(source, data.locate(source)[1])
    assert not (tmp_path / "sprung").exists()


def test_without_network_the_digits_stand_in_with_a_warning_and_a_label(offline):
    with pytest.warns(data.StandInWarning, match="CIFAR-10: no file, no download; using scikit-learn's digits"):
        loaded = images.load_images()
    assert loaded.stand_in
    assert loaded.label == "scikit-learn's digits, standing in for CIFAR-10 (1,797 images)"


def test_asking_for_the_digits_needs_no_network_and_warns_of_nothing():
    loaded = images.load_images(embedded=True)
    assert loaded.origin == "embedded"
    assert (loaded.train.shape, loaded.test.shape) == ((1500, 8, 8, 1), (297, 8, 8, 1))
    assert (loaded.train.dtype, loaded.train.min(), loaded.train.max()) == (np.uint8, 0, 255)
    assert (loaded.train_labels.shape, loaded.test_labels.shape) == ((1500,), (297,))
    assert set(loaded.test_labels) == set(range(len(loaded.classes)))
    assert loaded.lossy_train.size == loaded.lossy_test.size == 0
    content = [loaded.train, loaded.train_labels, loaded.test, loaded.test_labels]
    assert loaded.sha256 == hashlib.sha256(b"".join(array.tobytes() for array in content)).hexdigest()


def test_other_digits_are_refused(monkeypatch):
    monkeypatch.setattr(images, "DIGITS_SHA256", "0" * 64)
    with pytest.raises(data.DataError, match=r"scikit-learn's digits: sha256 is \w+ after decoding, expected 000"):
        _ = images.load_images(embedded=True).train


def test_a_configuration_chooses_its_images(put, small, monkeypatch):
    source = put(ARCHIVE, archive(small))
    monkeypatch.setattr(images.load_images, "__defaults__", (source,))
    assert images.configured_images(SimpleNamespace(images="real")).origin == "folder"
    assert images.configured_images(SimpleNamespace(images="embedded")).stand_in


@pytest.fixture
def coloured():
    return np.random.default_rng(1).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8) // np.array([1, 2, 3], np.uint8)


@pytest.mark.parametrize("pixels", [None, 8, 4, 1])
def test_standardised_channels_have_mean_0_and_deviation_1(coloured, pixels):
    values = images.standardised(coloured, pixels=pixels)
    assert values.shape == (20, 3, pixels or 8, pixels or 8)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(values.std(axis=(0, 2, 3)), 1, rtol=1e-12)


def test_test_images_are_standardised_like_the_training_images(coloured):
    train, test = coloured[:12], coloured[12:]
    mean, deviation = statistics = images.channel_statistics(train, pixels=4)
    blocks = np.array([[test[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(1, 2)) for j in range(4)] for i in range(4)])
    expected = (blocks.transpose(2, 3, 0, 1) / 255 - mean[:, None, None]) / deviation[:, None, None]
    np.testing.assert_allclose(images.standardised(test, pixels=4, statistics=statistics), expected, rtol=1e-12)
    np.testing.assert_array_equal(
        images.standardised(train, pixels=4, statistics=statistics), images.standardised(train, pixels=4)
    )


@pytest.mark.parametrize("pixels", [0, -4, 3, 16])
def test_pixels_that_do_not_divide_the_height_are_named(coloured, pixels):
    with pytest.raises(ValueError, match=rf"pixels must divide the images' height 8, one of \[1, 2, 4, 8\], got {pixels}"):
        images.standardised(coloured, pixels=pixels)


@pytest.mark.skipif(
    not any((REAL_FOLDER / file.name).exists() for file in data.CIFAR10.files if not file.lossy), reason="CIFAR-10 is not here"
)
@exhaustive
def test_cifar10_is_what_its_data_card_says(monkeypatch):
    monkeypatch.setenv("KADAM_DATA", str(REAL_FOLDER))
    loaded = images.load_images()
    assert (loaded.train.shape, loaded.test.shape) == ((50000, 32, 32, 3), (10000, 32, 32, 3))
    assert np.bincount(loaded.train_labels).tolist() == [5000] * 10
    found = [digest(loaded.train_labels.astype(np.uint8)), digest(loaded.test_labels.astype(np.uint8))]
    assert found == [data.CIFAR10.checksums.train_labels, data.CIFAR10.checksums.test_labels]
    if loaded.lossy_train.size:
        assert (loaded.lossy_train.size, loaded.lossy_test.size) == (73, 20)
        assert [digest(loaded.train), digest(loaded.test)] == [data.CIFAR10.checksums.train, data.CIFAR10.checksums.test]
    statistics = images.channel_statistics(loaded.train, pixels=32)
    np.testing.assert_allclose(statistics.mean, [0.4914, 0.4822, 0.4465], atol=1e-4)
    np.testing.assert_allclose(statistics.deviation, [0.2470, 0.2435, 0.2616], atol=1e-4)


LOSSY_FILE = next(file for file in data.CIFAR10.files if file.lossy)


@pytest.mark.skipif(not (REAL_FOLDER / LOSSY_FILE.name).exists(), reason="CIFAR-10's JPEG copy is not here")
@exhaustive
def test_the_jpeg_copy_of_cifar10_is_what_its_data_card_says(monkeypatch, tmp_path):
    monkeypatch.setenv("KADAM_DATA", str(tmp_path))
    (tmp_path / LOSSY_FILE.name).symlink_to(REAL_FOLDER / LOSSY_FILE.name)
    loaded = images.load_images()
    assert loaded.label == "CIFAR-10 (a lossy JPEG copy)"
    assert (loaded.train.shape, loaded.test.shape) == ((50000, 32, 32, 3), (10000, 32, 32, 3))
    statistics = images.channel_statistics(loaded.train, pixels=32)
    np.testing.assert_allclose(statistics.mean, [0.4914, 0.4822, 0.4465], atol=2e-3)
    np.testing.assert_allclose(statistics.deviation, [0.2470, 0.2435, 0.2616], atol=1e-2)
