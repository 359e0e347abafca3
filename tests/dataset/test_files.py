"""Immutable files: named by their content, whole or not there, once each."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

import pytest

from varifold.dataset import files
from varifold.dataset.errors import DatasetError
from varifold.dataset.files import Files

CONTENT = b"a picture"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def put(folder, content=CONTENT, kind="images"):
    written = Files(folder)
    path, digest = written.place(kind, content, ".png")
    written.put(path, content)
    written.flush()
    return path, digest


def test_a_file_is_named_by_its_content(tmp_path):
    path, digest = put(tmp_path)
    assert (path, digest) == (f"images/{DIGEST[:2]}/{DIGEST}.png", DIGEST)
    assert (tmp_path / path).read_bytes() == CONTENT
    assert put(tmp_path, kind="graphs")[0] == f"graphs/{DIGEST}.png"


def test_the_same_content_is_written_once(tmp_path):
    path, _ = put(tmp_path)
    before = (tmp_path / path).stat()
    put(tmp_path)
    assert (tmp_path / path).stat().st_ino == before.st_ino
    written = Files(tmp_path)
    for _ in range(3):
        written.put(*(written.place("images", b"new", ".png")[0], b"new"))
    written.flush()
    assert len([each for each in (tmp_path / "images").rglob("*") if each.is_file()]) == 2


def test_nothing_is_at_its_place_before_the_disk_has_it(tmp_path, monkeypatch):
    happened = []
    sync_file, replace, sync_folder = files.sync_file, os.replace, files.sync_folder
    monkeypatch.setattr(files, "sync_file", lambda path: (happened.append("sync"), sync_file(path)))
    monkeypatch.setattr(files.os, "replace", lambda *paths: (happened.append("move"), replace(*paths)))
    monkeypatch.setattr(
        files, "sync_folder", lambda path: (happened.append(f"names in {path.name}"), sync_folder(path))
    )
    put(tmp_path)
    order = [each for each in happened if each in ("sync", "move", f"names in {DIGEST[:2]}")]
    assert order == ["sync", "move", f"names in {DIGEST[:2]}"]
    assert "names in images" in happened[happened.index("move") :]


def test_a_damaged_file_is_found_and_written_again(tmp_path):
    path, _ = put(tmp_path)
    (tmp_path / path).write_bytes(b"damage")
    assert not Files(tmp_path).is_whole(path)
    put(tmp_path)
    assert Files(tmp_path).is_whole(path)
    (tmp_path / path).unlink()
    assert not Files(tmp_path).is_whole(path)


def test_parts_of_a_killed_process_are_forgotten(tmp_path):
    written = Files(tmp_path)
    written.put(written.place("images", CONTENT, ".png")[0], CONTENT)
    assert list((tmp_path / files.UNFINISHED).iterdir())
    Files(tmp_path).forget()
    assert not (tmp_path / files.UNFINISHED).exists()


def test_sweep_deletes_what_is_not_wanted(tmp_path):
    kept, _ = put(tmp_path)
    gone, _ = put(tmp_path, b"another", "masks")
    assert Files(tmp_path).sweep({kept}) == [gone]
    assert (tmp_path / kept).exists() and not (tmp_path / gone).exists()


@pytest.mark.parametrize("where", ["write_all", "sync_file"])
def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path, monkeypatch, where):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, where, fail)
    with pytest.raises(DatasetError, match="No space left on device; the samples before are safe"):
        put(tmp_path)
    assert not (tmp_path / "images").exists() or not list((tmp_path / "images").rglob("*.png"))


def test_a_file_system_that_cannot_wait_for_names_is_no_error(tmp_path, monkeypatch):
    fsync = os.fsync

    def only_files(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr(files.os, "fsync", only_files)
    path, _ = put(tmp_path)
    assert Files(tmp_path).is_whole(path)
