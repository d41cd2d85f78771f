"""A file is whole or absent; what killed writers leave is swept, what living ones hold is not."""

import os
import subprocess
import sys

import pytest

from rfm import files
from rfm.files import check_writable, replacing, write_whole


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def killed(tmp_path):
    """The path of a file whose writer was killed midway."""
    path = tmp_path / "a.nc"
    path.write_bytes(b"old")
    code = (
        "import pathlib, time\nfrom rfm.files import replacing\n"
        f"with replacing(pathlib.Path({str(path)!r})) as temporary:\n"
        "    temporary.write_bytes(b'half'); print('begun', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        process.kill()
    return path


def test_what_a_killed_writer_left_is_swept_by_the_next_one(killed):
    assert killed.read_bytes() == b"old"
    assert len(left_in(killed.parent)) == 2
    write_whole(killed, b"new")
    assert killed.read_bytes() == b"new"
    assert left_in(killed.parent) == ["a.nc"]


def test_what_a_living_writer_holds_is_left_alone(tmp_path):
    path = tmp_path / "a.nc"
    with replacing(path) as temporary:
        temporary.write_bytes(b"slow")
        write_whole(path, b"fast")
        assert temporary.exists()
    assert path.read_bytes() == b"slow"
    assert left_in(tmp_path) == ["a.nc"]


def test_only_temporary_names_of_the_same_path_are_swept(tmp_path):
    strangers = [".a.nc.notes.tmp", ".b.nc.0123456789abcdef.tmp", "a.nc.0123456789abcdef.tmp"]
    for name in strangers:
        (tmp_path / name).touch()
    write_whole(tmp_path / "a.nc", b"new")
    assert left_in(tmp_path) == sorted([*strangers, "a.nc"])


@pytest.mark.parametrize(("age", "is_swept"), [(0, False), (2 * files.ABANDONED_AFTER, True)])
def test_without_locks_age_decides(age, is_swept, killed, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    (stray,) = (path for path in killed.parent.iterdir() if path != killed)
    os.utime(stray, (stray.stat().st_atime, stray.stat().st_mtime - age))
    write_whole(killed, b"new")
    assert stray.exists() != is_swept


def test_names_do_not_depend_on_the_process(tmp_path):
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        first.touch()
        second.touch()
        assert first != second


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.nc"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), replacing(path) as temporary:
        temporary.unlink()
    assert path.read_bytes() == b"old"
    assert left_in(tmp_path) == ["a.nc"]


def test_asking_leaves_nothing(tmp_path):
    check_writable("output", tmp_path / "new" / "a.nc")
    assert left_in(tmp_path / "new") == []


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"output: .*file' is no folder; pass a file in another one"):
        check_writable("output", tmp_path / "file" / "a.nc")


def test_a_disk_that_is_almost_full_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LEAST_FREE", 2**62)
    with pytest.raises(ValueError, match=r"figure: only .* MB are free in .*; free .* MB, or pass a file in another"):
        check_writable("figure", tmp_path / "a")
