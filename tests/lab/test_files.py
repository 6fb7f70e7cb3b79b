"""A file is whole or not there, whatever happens while it is written."""

import errno
import multiprocessing
import resource
import time

import pytest

from kadam.lab.records import files


def test_a_sealed_file_comes_back(tmp_path):
    files.write_sealed(tmp_path / "folder" / "x", b"content\n")
    assert files.read_sealed(tmp_path / "folder" / "x", command="again") == b"content\n"


def write_half(path):
    with files.whole_file(path) as aside:
        aside.write_bytes(b"half")
        raise KeyboardInterrupt


def test_a_write_that_is_interrupted_leaves_the_old_file_and_nothing_else(tmp_path):
    files.write_sealed(tmp_path / "x", b"old")
    before = (tmp_path / "x").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_copy_is_made_where_it_differs_and_left_alone_where_it_does_not(tmp_path):
    source, path = tmp_path / "source", tmp_path / "folder" / "copy"
    source.write_bytes(b"first")
    files.copy(source, path)
    made = path.stat()
    files.copy(source, path)
    assert (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) == (b"first", made.st_ino, made.st_mtime_ns)
    source.write_bytes(b"other")
    files.copy(source, path)
    assert path.read_bytes() == b"other"


@pytest.fixture
def quota():
    """No file may grow beyond 1000 bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_the_old_one(tmp_path, quota):
    files.write_sealed(tmp_path / "x", b"old")
    with pytest.raises(OSError, match=r"what was finished is kept, make room and run the same command.*/x") as refusal:
        files.write_sealed(tmp_path / "x", bytes(2000))
    assert refusal.value.errno == errno.EFBIG
    assert files.read_sealed(tmp_path / "x", command="again") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_killed_processes_left_of_a_file_is_removed_and_nothing_else(tmp_path):
    for name in ("x", ".0123.x", "y", ".0123.y"):
        (tmp_path / name).write_text(name)
    files.remove_leftovers(tmp_path, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".0123.y", "x", "y"]


def hold(path, log):
    with files.locked(path), log.open("a", buffering=1) as file:
        print("in", file=file)
        time.sleep(0.5)
        print("out", file=file)


def test_of_two_processes_one_waits_and_says_so(tmp_path, capfd):
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    both = [context.Process(target=hold, args=(tmp_path / "one.lock", log)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert log.read_text().split() == ["in", "out", "in", "out"]
    assert capfd.readouterr().err == "one: another process is at it; waiting for its result\n"


def test_a_process_that_is_killed_gives_its_lock_back(tmp_path):
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    holder = context.Process(target=hold, args=(tmp_path / "one.lock", log))
    holder.start()
    while not (log.exists() and log.read_text()):
        time.sleep(0.01)
    holder.kill()
    holder.join()
    with files.locked(tmp_path / "one.lock"):
        assert log.read_text() == "in\n"
