"""Data comes from where it should, is verified wherever it is found, and a stand-in always says so."""

import hashlib
import http.server
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kadam.lab.data import sources as data

REAL_FOLDER = Path(os.environ.get("KADAM_DATA") or Path(__file__).parents[3] / "shared" / "data")
CONTENT = "To be, or not to be\n" * 20


@pytest.fixture
def source():
    """A small data set with the checksum of CONTENT."""
    sha256 = hashlib.sha256(CONTENT.encode()).hexdigest()
    return replace(data.TINY_SHAKESPEARE, files=(data.File("small.txt", sha256, "https://example.org/small.txt"),))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / "data"
    path.mkdir()
    monkeypatch.setenv("KADAM_DATA", str(path))
    return path


def test_the_data_folder_comes_first(folder, source):
    (folder / "small.txt").write_text(CONTENT)
    text = data.load_text(source)
    assert (text.characters, text.origin, text.stand_in, text.label) == (CONTENT, "folder", False, source.title)


def test_the_cache_comes_next(source):
    data.download_folder().mkdir(parents=True)
    (data.download_folder() / "small.txt").write_text(CONTENT)
    assert data.load_text(source).origin == "cache"


def test_then_a_download_with_checksum_into_the_cache(source, monkeypatch):
    asked = {}

    def retrieve(url, known_hash, *, fname, path, downloader):
        asked.update(url=url, known_hash=known_hash, bar=downloader.progressbar, timeout=downloader.kwargs["timeout"])
        path.mkdir(parents=True)
        (path / fname).write_text(CONTENT)
        return str(path / fname)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    assert data.load_text(source).origin == "download"
    (file,) = source.files
    assert asked == {"url": file.url, "known_hash": f"sha256:{file.sha256}", "bar": True, "timeout": data.DOWNLOAD_TIMEOUT}


@pytest.mark.parametrize("source", data.SOURCES.values(), ids=lambda s: s.name)
def test_every_source_can_be_downloaded_safely_and_has_checksums(source):
    assert source.download.url.startswith("https://")
    assert all(len(file.sha256) == 64 for file in source.files)


def test_without_network_an_excerpt_stands_in_with_a_warning_and_a_label(offline):
    with pytest.warns(data.StandInWarning, match="embedded excerpt"):
        text = data.load_text()
    assert text.stand_in
    assert text.label == "embedded excerpt of tiny Shakespeare (65,536 characters)"


@pytest.fixture
def servers(monkeypatch):
    """The servers that were asked for a connection. None answers, and this process and its children forget it afterwards."""
    asked = []
    monkeypatch.setenv(data.UNREACHABLE, "")
    monkeypatch.setattr(data, "getproxies", dict)
    monkeypatch.setattr(data, "_accepts", lambda host: asked.append(host))
    return asked


def test_a_server_out_of_reach_is_asked_once_by_a_command_and_all_processes_that_it_starts(servers, retrieve):
    with pytest.warns(data.StandInWarning, match="for real data: kadam data fetch"):
        data.find(data.REVIEWS[0], fetch=True, instead="an excerpt")
    with pytest.warns(data.StandInWarning):
        data.find(data.REVIEWS[1], fetch=True, instead="an excerpt")  # from the same server
    assert servers == ["ai.stanford.edu"]
    data._try_download.cache_clear()  # as in a process that this one starts
    with pytest.warns(data.StandInWarning):
        data.load_text()
    assert data._try_download(data.REVIEWS[0]) is None
    assert servers == ["ai.stanford.edu", "raw.githubusercontent.com"]
    assert os.environ[data.UNREACHABLE].split() == servers


def test_a_network_that_swallows_everything_costs_seconds_not_minutes(servers, monkeypatch):
    monkeypatch.setattr(data, "CONNECT_S", 0.05)
    monkeypatch.setattr(data, "_accepts", lambda host: threading.Event().wait(20))
    begin = time.monotonic()
    assert data._try_download(data.TINY_SHAKESPEARE) is None
    assert time.monotonic() - begin < 5


def test_behind_a_proxy_the_proxy_is_asked(servers, monkeypatch):
    monkeypatch.setattr(data, "getproxies", lambda: {"https": "http://proxy:3128"})
    assert data._reachable("example.org")
    assert servers == []


def test_asking_for_the_excerpt_needs_no_network_and_warns_of_nothing(offline):
    assert data.load_text(embedded=True).origin == "embedded"


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT.replace("not", "nut"), ""])
def test_a_wrong_checksum_is_refused_with_what_was_found_and_expected(folder, source, damage):
    (folder / "small.txt").write_text(damage)
    with pytest.raises(data.DataError) as refusal:
        data.load_text(source)
    found = hashlib.sha256(damage.encode()).hexdigest()
    assert all(part in str(refusal.value) for part in (str(folder / "small.txt"), found, source.files[0].sha256))


def test_a_download_with_a_wrong_checksum_is_refused_not_replaced_by_the_excerpt(source, monkeypatch):
    def mismatch(*args, **kwargs):
        raise ValueError("SHA256 hash of downloaded file (small.txt) does not match: expected abc but got def")

    monkeypatch.setattr("pooch.retrieve", mismatch)
    with pytest.raises(data.DataError, match="expected abc but got def"):
        data.load_text(source)


def test_a_text_that_is_not_utf_8_is_refused_with_the_place(folder, source):
    content = "naïve".encode() + b"\xe9 and so on"
    (folder / "small.txt").write_bytes(content)
    source = replace(source, files=(data.File("small.txt", hashlib.sha256(content).hexdigest()),))
    with pytest.raises(data.DataError, match=r"small\.txt: not UTF-8 at byte 6 of the text: invalid continuation byte"):
        data.load_text(source)


def test_both_texts_of_the_reviews_come_from_one_archive_or_from_a_file_of_their_own():
    train, valid = data.REVIEWS
    assert train.download == valid.download
    assert train.files[0] != valid.files[0]
    assert train.title == valid.title


def test_a_data_folder_that_is_none_is_named(monkeypatch):
    monkeypatch.setenv("KADAM_DATA", "/no/such/folder")
    with pytest.raises(data.DataError, match="KADAM_DATA must name a folder, got '/no/such/folder'"):
        data.load_text()


def test_tokens_index_the_sorted_vocabulary():
    text = data.load_text(embedded=True)
    assert text.vocabulary == sorted(set(text.characters))
    assert "".join(text.vocabulary[i] for i in text.tokens[:50]) == text.characters[:50]


def test_windows_are_consecutive_tokens_from_anywhere():
    text = data.load_text(embedded=True)
    windows = data.random_windows(text.tokens, batch=500, length=8, rng=np.random.default_rng(0))
    starts = [text.characters.find("".join(text.vocabulary[i] for i in window)) for window in windows]
    assert windows.shape == (500, 8)
    assert min(starts) >= 0
    assert max(starts) > len(text.characters) // 2


def test_the_last_window_can_be_drawn_and_a_longer_one_is_refused():
    text = data.Text("abcd", "tiny", "folder", "")
    rng = np.random.default_rng(0)
    assert data.random_windows(text.tokens, batch=2, length=4, rng=rng).tolist() == [[0, 1, 2, 3]] * 2
    with pytest.raises(ValueError, match="length must be at most the text's 4 characters, got 5"):
        data.random_windows(text.tokens, batch=2, length=5, rng=rng)


def test_the_excerpt_is_the_beginning_of_the_real_data():
    source = data.TINY_SHAKESPEARE
    excerpt = data.load_text(source, embedded=True)
    assert excerpt.sha256 == hashlib.sha256(excerpt.characters.encode()).hexdigest() == source.excerpt.sha256
    real = REAL_FOLDER / source.files[0].name
    if real.exists():  # on machines that have it
        assert hashlib.sha256(real.read_bytes()).hexdigest() == source.files[0].sha256
        assert real.read_text().startswith(excerpt.characters)


def test_any_of_a_sources_files_is_found_the_folder_before_the_cache_and_then_the_first(folder, source):
    source = replace(source, files=(data.File("a", "", "https://example.org/a"), data.File("b", "")))
    data.download_folder().mkdir(parents=True)
    for path in (data.download_folder() / "b", data.download_folder() / "a", folder / "b", folder / "a"):
        path.touch()
        assert data.locate(source) == ("folder" if path.parent == folder else "cache", path)


def test_data_sets_together_have_one_description_that_any_of_them_changes():
    one, other = data.Text("abc", "One", "folder", "1" * 64), data.Text("abcd", "Other", "cache", "2" * 64)
    assert data.describe(data.together(one, other, one)) == {
        "data": "One and Other and One",
        "data_sha256": hashlib.sha256(b"1" * 64 + b"2" * 64 + b"1" * 64).hexdigest(),
        "data_origin": "folder, cache",
    }
    assert data.together(one, replace(other, origin="embedded")).origin == "embedded"
    assert data.together(one, other).sha256 != data.together(other, one).sha256


@pytest.fixture
def plain_http():
    """The address of a server that answers without TLS."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_nothing_is_downloaded_without_tls(source, plain_http, retrieve, capfd):
    plain = replace(source, files=(replace(source.files[0], url=plain_http),))
    with pytest.raises(data.DataError, match=r"http://127.* is not https"):
        data.download(plain)
    assert list(data.download_folder().iterdir()) == []


def test_a_download_that_breaks_off_leaves_nothing(source, retrieve, monkeypatch):
    def break_off(self, url, output_file, pooch):
        output_file.write(b"half") if hasattr(output_file, "write") else Path(output_file).write_bytes(b"half")
        raise ConnectionError("cable pulled")

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", break_off)
    with pytest.raises(OSError, match="cable pulled"):
        data.download(source)
    assert list(data.download_folder().iterdir()) == []
