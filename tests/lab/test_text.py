"""Corpora: three parts that share nothing, from every file that they come in, and windows that depend on their seed alone."""

import hashlib
import io
import lzma
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from kadam import cli
from kadam.lab.data import reviews
from kadam.lab.data import sources as data
from kadam.lab.data import text as corpora
from kadam.lab.data.text import Corpus, load_corpus
from kadam.lab.data.windows import BLOCK, Unrepeated, Windows, spaced_windows

REAL_FOLDER = Path(os.environ.get("KADAM_DATA") or Path(__file__).parents[3] / "shared" / "data")
ARCHIVE = "small.tar.gz"
PACKED = ("train.txt.xz", "valid.txt.xz")

# Reviews in characters of one, two, three and four bytes, and of no two lengths that are equal.
TRAIN = [f"Review {i} of a café, 5 € or 𝄞{'!' * i}" for i in range(8)]
POSITIVE = [f"Good film {i}" for i in range(6)]
NEGATIVE = [f"Bad film {i} — no" for i in range(5)]
FOREIGN = (0, 2)


def text(lines):
    return "".join(f"{line}\n" for line in lines).encode()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


VALID = text(line for i, line in enumerate(POSITIVE + NEGATIVE) if i not in FOREIGN)
CHECKSUMS = sha256(text(TRAIN)), sha256(VALID)


def packed(content):
    return lzma.compress(content)


def archive(members):
    """A compressed archive with files of these names and texts."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content.encode())
            file.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


def members():
    """The reviews as the archive has them, in no order, with repeats, with others, and with what is no review."""
    found = {f"aclImdb/train/unsup/{i}_0.txt": line for i, line in enumerate(TRAIN)}
    found |= {f"aclImdb/test/pos/{i}_{7 + i % 4}.txt": line for i, line in enumerate(POSITIVE)}
    found |= {f"aclImdb/test/neg/{i}_{1 + i % 4}.txt": line for i, line in enumerate(NEGATIVE)}
    repeats = {"train/unsup/8": TRAIN[3], "test/pos/6": POSITIVE[1], "test/pos/7": TRAIN[0], "test/neg/5": POSITIVE[3]}
    found |= {f"aclImdb/{place}_0.txt": line for place, line in repeats.items()}
    others = {"train/unsup/40000_0": "x", "test/pos/1250_9": "x", "test/neg/1250_2": "x", "train/pos/0_9": "x", "urls": "x"}
    found |= {f"aclImdb/{place}.txt": line for place, line in others.items()}
    return dict(sorted(found.items(), key=lambda item: sha256(item[0].encode())))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / "data"
    path.mkdir()
    monkeypatch.setenv("KADAM_DATA", str(path))
    return path


@pytest.fixture
def put(folder, monkeypatch):
    """Puts files of small reviews into the data folder, and has them known by their checksums."""

    def put(train=None, valid=None, *, whole=None, checksums=CHECKSUMS, foreign=FOREIGN):
        contents = {PACKED[0]: train, PACKED[1]: valid, ARCHIVE: whole}
        for name, content in contents.items():
            if content is not None:
                (folder / name).write_bytes(content)
        known = [data.File(name, sha256(contents[name] or b"")) for name in PACKED]
        other = data.File(ARCHIVE, sha256(whole or b""), f"https://example.org/{ARCHIVE}")
        sources = tuple(
            replace(source, files=(file, other), unpacked=checksum, foreign=lines)
            for source, file, checksum, lines in zip(data.REVIEWS, known, checksums, ((), foreign), strict=True)
        )
        monkeypatch.setattr(corpora, "REVIEWS", sources)
        return sources

    return put


@pytest.fixture
def small(put):
    """Small reviews in packed files."""
    return put(packed(text(TRAIN)), packed(text(POSITIVE + NEGATIVE)))


def told(tokens):
    return tokens.tobytes().decode()


@pytest.fixture(params=corpora.CORPORA)
def name(request):
    return request.param


@pytest.fixture
def real(name, monkeypatch):
    """A real corpus on machines that have it, the excerpt on others."""
    files = {"shakespeare": ["tinyshakespeare.txt"], "reviews": ["imdb.train.txt.xz", "imdb.valid.txt.xz"]}[name]
    there = all((REAL_FOLDER / file).exists() for file in files)
    if there:
        monkeypatch.setenv("KADAM_DATA", str(REAL_FOLDER))
    return load_corpus(name, embedded=not there, limit=300_000)


def test_the_parts_of_shakespeare_follow_each_other_and_are_all_of_it():
    corpus = load_corpus("shakespeare", embedded=True)
    whole = data.load_text(embedded=True)
    assert np.array_equal(np.concatenate(corpus.parts), whole.tokens)
    assert [len(part) for part in corpus.parts] == [58_982, 3_277, 3_277]
    assert (corpus.unit, corpus.vocabulary, corpus.sha256) == ("character", len(whole.vocabulary), whole.sha256)


def test_what_a_corpus_says_of_itself(real, name):
    if real.stand_in:
        assert real.label.startswith("embedded excerpt of tiny Shakespeare")
    else:
        assert (real.label, real.origin) == (
            {"shakespeare": "tiny Shakespeare", "reviews": "IMDB film reviews"}[name],
            "folder",
        )
        assert real.vocabulary == {"shakespeare": 65, "reviews": 256}[name]
    assert data.describe(real) == {"data": real.label, "data_sha256": real.sha256, "data_origin": real.origin}
    assert all(part.dtype == np.uint8 and part.flags.writeable and len(part) > 1000 for part in real.parts)


def test_no_review_lies_in_two_parts():
    if not (REAL_FOLDER / "imdb.valid.txt.xz").exists():
        pytest.skip("needs the film reviews")
    with lzma.open(REAL_FOLDER / "imdb.valid.txt.xz") as file:
        held_out = file.read()
    assert sha256(held_out) == "d7dcc68ff365d76ff5c99a58fb07e8678568473fb07a8eeff949882aa8bd889e"  # of the data card
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KADAM_DATA", str(REAL_FOLDER))
        corpus = load_corpus("reviews")
    lines = [set(part.tobytes().split(b"\n")[:-1]) for part in corpus.parts]
    assert [len(part) for part in lines] == [39_658, 1_235, 1_234]
    assert len(set.union(*lines)) == sum(map(len, lines))
    left_out = set(held_out.split(b"\n")[:-1]) - lines[1] - lines[2]
    assert len(left_out) == 4
    assert b"Such a wonderful app that every1 should have in their smartphones." in left_out


def test_reviews_are_bytes_and_those_held_out_are_taken_by_turns(small):
    corpus = load_corpus("reviews")
    assert told(corpus.train).splitlines() == TRAIN
    held_out = VALID.decode().splitlines()
    assert (told(corpus.validation).splitlines(), told(corpus.test).splitlines()) == (held_out[::2], held_out[1::2])
    assert (corpus.unit, corpus.vocabulary, corpus.origin) == ("byte", 256, "folder")
    assert corpus.sha256 == sha256("".join(CHECKSUMS).encode())


def test_the_archive_gives_the_same_text_as_the_packed_files(put, small):
    expected = load_corpus("reviews")
    for name in PACKED:
        (data.data_folder() / name).unlink()
    put(whole=archive(members()))
    corpus = load_corpus("reviews")
    assert all(np.array_equal(*parts) for parts in zip(corpus.parts, expected.parts, strict=True))
    assert corpus.sha256 == expected.sha256
    assert len(load_corpus("reviews", limit=20).train) == 20
    assert load_corpus("reviews", limit=20).sha256 == expected.sha256


def test_a_review_of_the_archive_is_one_line():
    made = reviews.archived_reviews(io.BytesIO(archive({"aclImdb/train/unsup/0_0.txt": "one\ntwo \n"})))
    assert made == (b"one two\n", b"")


def test_files_of_different_origin_are_both_named(put, small, folder):
    data.download_folder().mkdir(parents=True)
    (folder / PACKED[1]).rename(data.download_folder() / PACKED[1])
    assert load_corpus("reviews").origin == "folder, cache"


@pytest.mark.parametrize("limit", range(1, 90, 4))
def test_a_limit_keeps_the_first_whole_characters_and_the_other_parts(small, limit):
    corpus, whole = load_corpus("reviews", limit=limit), load_corpus("reviews")
    assert text(TRAIN).decode().startswith(told(corpus.train))
    assert limit - 4 < len(corpus.train) <= limit
    assert np.array_equal(corpus.test, whole.test)
    assert corpus.sha256 == whole.sha256


def test_a_limit_beyond_the_text_keeps_it_all(small, name):
    whole = load_corpus("reviews")
    for more in (0, 1, 10**9):
        assert np.array_equal(load_corpus("reviews", limit=len(whole.train) + more).train, whole.train)
    excerpt = load_corpus(name, embedded=True)
    assert np.array_equal(load_corpus(name, embedded=True, limit=100).train, excerpt.train[:100])
    assert np.array_equal(load_corpus(name, embedded=True, limit=100).validation, excerpt.validation)


def test_of_a_packed_file_no_more_is_unpacked_than_the_limit(put, small):
    damaged = packed(np.random.default_rng(0).integers(32, 127, 300_000, dtype=np.uint8).tobytes())[:-50_000]
    put(damaged, packed(text(POSITIVE + NEGATIVE)))
    assert len(load_corpus("reviews", limit=1_000).train) == 1_000
    with pytest.raises(data.DataError, match=r"train\.txt\.xz: cannot be unpacked: Compressed file ended"):
        load_corpus("reviews")


def test_without_files_and_network_the_excerpt_stands_in_with_a_warning_and_a_label(name, offline):
    with pytest.warns(data.StandInWarning, match="no file, no download; using an embedded excerpt"):
        corpus = load_corpus(name)
    other, unit = {"shakespeare": ("", "characters"), "reviews": (", standing in for IMDB film reviews", "bytes")}[name]
    assert corpus.label == f"embedded excerpt of tiny Shakespeare{other} (65,536 {unit})"
    assert corpus.stand_in


def test_asking_for_the_excerpt_warns_of_nothing(name, offline):
    corpus = load_corpus(name, embedded=True)
    assert corpus.origin == "embedded"
    assert corpus.vocabulary == {"shakespeare": 59, "reviews": 256}[name]


def test_half_of_the_reviews_is_not_enough(put, offline):
    put(train=packed(text(TRAIN)))
    with pytest.warns(data.StandInWarning, match="IMDB film reviews: no file"):
        assert load_corpus("reviews").stand_in


def test_an_unknown_corpus_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="a corpus is one of shakespeare, reviews, got 'c4'"):
        load_corpus("c4")


@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_must_be_positive(name, limit):
    with pytest.raises(ValueError, match=f"limit must be at least 1 token, got {limit}"):
        load_corpus(name, embedded=True, limit=limit)


@pytest.mark.parametrize(
    ("train", "valid", "limit", "message"),
    [
        ([], ["one", "two"], None, "nothing in train; found 0 bytes in train, 4 bytes in validation, 4 bytes in test"),
        (["€"], ["one", "two"], 2, "nothing in train"),
        (["one"], [], None, "nothing in validation; found 4 bytes in train, 0 bytes in validation, 0 bytes in test"),
        (["one"], ["two"], None, "nothing in test; found 4 bytes in train, 4 bytes in validation, 0 bytes in test"),
    ],
)
def test_an_empty_part_is_named_with_what_was_found(put, train, valid, limit, message):
    contents = text(train), text(valid)
    put(*map(packed, contents), checksums=tuple(map(sha256, contents)), foreign=())
    with pytest.raises(ValueError, match=message):
        load_corpus("reviews", limit=limit)


def test_a_text_too_short_to_part_is_refused(monkeypatch):
    monkeypatch.setattr(corpora, "load_text", lambda **_: data.Text("a", "tiny", "folder", ""))
    with pytest.raises(ValueError, match=r"tiny: nothing in train; found 0 characters in train, 0 .* 1 characters in test"):
        load_corpus("shakespeare")


def test_a_text_of_too_many_characters_is_refused(monkeypatch):
    wide = "".join(map(chr, range(300)))
    monkeypatch.setattr(corpora, "load_text", lambda **_: data.Text(wide, "wide", "folder", ""))
    with pytest.raises(ValueError, match="at most 256 different characters, got 300"):
        load_corpus("shakespeare")


@pytest.mark.parametrize("tokens", [np.array([5], np.uint8), np.array([1], np.int64)])
def test_tokens_must_be_bytes_of_the_vocabulary(tokens):
    good = np.zeros(1, np.uint8)
    with pytest.raises(ValueError, match=f"tiny: tokens must be uint8 below 5, got {tokens.dtype} in validation"):
        Corpus("tiny", "byte", 5, good, tokens, good, "folder", "")


def test_bytes_that_are_not_utf_8_are_refused_with_the_place(put):
    content = "ça va ".encode() + b"\xff\xfe" + b" and more" * 9
    for valid in (text(POSITIVE), content):
        train = content if valid != content else text(TRAIN)
        put(packed(train), packed(valid), checksums=(sha256(train), sha256(valid)), foreign=())
        with pytest.raises(data.DataError, match=r"\.txt\.xz: not UTF-8 at byte 7 of the text: invalid start byte"):
            load_corpus("reviews", limit=20)
    put(packed(content), packed(text(POSITIVE)), checksums=(sha256(content), sha256(text(POSITIVE))), foreign=())
    assert told(load_corpus("reviews", limit=7).train) == "ça va "


def test_a_text_that_ends_within_a_character_is_refused(put):
    content = "five €".encode()[:-1]
    put(packed(content), packed(text(POSITIVE)), checksums=(sha256(content), ""), foreign=())
    with pytest.raises(data.DataError, match=r"train\.txt\.xz: not UTF-8 at byte 5 of the text: unexpected end of data"):
        load_corpus("reviews")


@pytest.mark.parametrize(
    "damage",
    [lambda c: c[:-20], lambda c: c[:60] + b"x" + c[61:], lambda c: b"", lambda c: b"not packed"],
    ids=["cut", "changed", "empty", "other"],
)
@pytest.mark.parametrize("encode", [packed, archive], ids=["packed", "archive"])
def test_damaged_files_are_refused_by_name(put, encode, damage):
    whole = packed(text(TRAIN) * 9) if encode is packed else archive(members())
    put(**{"train" if encode is packed else "whole": damage(whole)})
    (train, _), folder = corpora.REVIEWS, data.data_folder()
    path = folder / (PACKED[0] if encode is packed else ARCHIVE)
    with pytest.raises(data.DataError, match=f"{path.name}: cannot be unpacked|{path.name}: sha256 is .* after unpacking"):
        reviews.read_reviews(train, path)


def test_a_file_of_another_checksum_is_refused_even_if_little_of_it_is_read(small, folder):
    (folder / PACKED[0]).write_bytes(packed(text(TRAIN) * 2))
    with pytest.raises(data.DataError, match=r"train\.txt\.xz: sha256 is .*, expected"):
        load_corpus("reviews", limit=5)


def test_a_text_of_another_checksum_is_refused(put):
    put(packed(text(TRAIN)), packed(text(POSITIVE + NEGATIVE)), checksums=(CHECKSUMS[0], sha256(b"other")))
    with pytest.raises(data.DataError, match=r"valid\.txt\.xz: sha256 is .* after unpacking, expected"):
        load_corpus("reviews")


def test_the_command_line_says_that_lines_are_left_out(small, monkeypatch):
    monkeypatch.setattr(data, "SOURCES", {source.name: source for source in small})
    output = CliRunner().invoke(cli.commands, ["data", "status"]).output.splitlines()
    assert output[0].endswith("train.txt.xz (folder), sha256 verified")
    assert output[1].endswith("valid.txt.xz (folder), sha256 verified; 2 lines that are no film reviews are left out")


N, CONTEXT = 500, 7
TOKENS = torch.from_numpy(np.random.default_rng(1).permutation(N) % 256).to(torch.uint8)


def windows(tokens=TOKENS, batch=4, context=CONTEXT, seed=3):
    return Windows(tokens, batch=batch, context=context, seed=seed)


def test_a_batch_is_a_function_of_its_number_and_the_seed():
    wanted = [7, 0, 3000, 1023, 1024, 7]  # of several blocks, out of order: as after a resumption
    one, fresh = windows(), [windows()[n] for n in wanted]
    assert all(torch.equal(one[n], batch) for n, batch in zip(wanted, fresh, strict=True))
    assert not torch.equal(fresh[0], fresh[1])
    assert not torch.equal(windows(seed=4)[7], fresh[0])


@pytest.mark.parametrize("n", [0, 5, BLOCK + 2])
def test_windows_are_those_that_a_loop_cuts_out(n):
    starts = np.random.default_rng([3, n // BLOCK]).integers(0, N - CONTEXT, (BLOCK, 4))[n % BLOCK]
    loop = [[int(TOKENS[start + i]) for i in range(CONTEXT + 1)] for start in starts]
    assert windows()[n].tolist() == loop
    assert windows()[n].dtype == torch.int64


def test_every_place_is_drawn_and_equally_often():
    tokens = torch.arange(20, dtype=torch.uint8)
    drawn = torch.cat([windows(tokens, batch=64)[n][:, 0] for n in range(100)])
    counts = torch.bincount(drawn)
    assert len(counts) == 20 - CONTEXT  # the last window ends with the text
    assert (counts - 6400 / 13).abs().max() < 5 * (6400 / 13) ** 0.5


def test_without_repeats_every_token_is_predicted_once_at_most_in_an_order_of_the_seed(monkeypatch):
    monkeypatch.setattr("kadam.lab.data.windows.BLOCK", 5)
    tokens = torch.arange(18 * CONTEXT + 3, dtype=torch.uint8)
    one, again, other = (Unrepeated(tokens, steps=6, batch=3, context=CONTEXT, seed=seed) for seed in (3, 3, 4))
    found = torch.stack([one[n] for n in range(6)])
    assert torch.equal(found.flatten(0, 1)[:, 0] % CONTEXT, torch.zeros(18, dtype=torch.int64))
    assert sorted(found[..., 1:].flatten().tolist()) == list(range(1, 18 * CONTEXT + 1))
    assert all(torch.equal(again[n], found[n]) for n in (5, 0))
    assert not torch.equal(other[0], found[0])
    with pytest.raises(ValueError, match="text must have 21 windows side by side for 7 steps, it has 18"):
        Unrepeated(tokens, steps=7, batch=3, context=CONTEXT, seed=3)


def test_the_text_may_be_as_long_as_one_window():
    assert windows(TOKENS[: CONTEXT + 1])[0].tolist() == [TOKENS[: CONTEXT + 1].tolist()] * 4


@pytest.mark.parametrize("cut", [windows, lambda tokens, context: spaced_windows(tokens, count=1, context=context)])
def test_a_context_longer_than_the_text_is_refused(cut):
    with pytest.raises(ValueError, match="context must be shorter than the text of 500 tokens, got 500"):
        cut(TOKENS, context=N)
    with pytest.raises(ValueError, match="context must be at least 1 token, got 0"):
        cut(TOKENS, context=0)


def test_no_windows_are_refused():
    with pytest.raises(ValueError, match="batch must be at least 1 window, got 0"):
        windows(batch=0)
    with pytest.raises(ValueError, match="count must be at least 1 window, got 0"):
        spaced_windows(TOKENS, count=0, context=CONTEXT)


@pytest.mark.parametrize("count", [1, 2, 5, 61, 62, 63, 1000])
@pytest.mark.parametrize("length", [CONTEXT + 1, 37, 499, 500])
def test_spaced_windows_do_not_overlap_and_reach_through_the_text(count, length):
    places = torch.arange(length) // 2  # below 256, and every window's first token tells where it begins, but for one
    spaced = spaced_windows(places.to(torch.uint8), count=count, context=CONTEXT)
    fit = min(count, length // (CONTEXT + 1))
    assert spaced.shape == (fit, CONTEXT + 1)
    assert spaced.dtype == torch.int64
    starts = [i * length // fit for i in range(fit)]
    assert spaced.tolist() == [places[start : start + CONTEXT + 1].tolist() for start in starts]
    gaps = np.diff([*starts, length])
    assert gaps.min() >= CONTEXT + 1
    assert gaps.max() - gaps.min() <= 1


def test_windows_come_from_any_part_of_a_corpus(real):
    for part in real.parts:
        batch = Windows(torch.from_numpy(part), batch=8, context=64, seed=0)[2]
        assert all(row.astype(np.uint8).tobytes() in part.tobytes() for row in batch.numpy())
        assert int(batch.max()) < real.vocabulary
