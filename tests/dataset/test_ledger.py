"""The ledger: lines that are whole or not there, and damage that is named."""

from __future__ import annotations

import json
import re
import zlib

import pytest

from varifold.dataset import files
from varifold.dataset.errors import DatasetError
from varifold.dataset.ledger import Ledger

ENTRIES = [{"kind": "note", "text": text} for text in ("one", "🐉\n", "three", '"}\\')]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "ledger.jsonl"
    write(path, ENTRIES)
    return path


def write(path, entries):
    ledger = Ledger(path)
    assert read(ledger) == []
    for entry in entries:
        ledger.append(entry)
        ledger.flush()
    ledger.close()


def read(ledger):
    told = [json.loads(line) for _, line in ledger.read()]
    return [{name: value for name, value in entry.items() if name != "crc"} for entry in told]


def test_entries_come_back_and_can_be_asked_for_by_their_place(path):
    ledger = Ledger(path)
    assert read(ledger) == ENTRIES
    assert all(ledger.at(offset) == line for offset, line in ledger.read())
    assert b"".join(ledger.lines()) == path.read_bytes()


def test_each_line_is_json_with_the_crc_of_png_and_gzip(path):
    for line in path.read_bytes().splitlines():
        crc = json.loads(line)["crc"]
        body = line[len('{"crc":"00000000",') :]
        assert line == b'{"crc":"%s",%s' % (crc.encode(), body)
        assert zlib.crc32(body) == int(crc, 16) and len(crc) == 8
    assert zlib.crc32(b"123456789") == 0xCBF43926  # the check value of CRC-32/ISO-HDLC


def test_where_each_line_ends_up_is_told_before_it_is_written(path):
    ledger = Ledger(path)
    read(ledger)
    told = [ledger.append(entry) for entry in ENTRIES]
    assert read(Ledger(path)) == ENTRIES
    ledger.flush()
    assert [(offset, line) for offset, line in Ledger(path).read()][len(ENTRIES) :] == told


def test_a_line_torn_anywhere_is_passed_over_and_cut_off_before_the_next(path):
    whole = path.read_bytes()
    for size in range(whole.rindex(b"\n", 0, -1) + 1, len(whole)):
        path.write_bytes(whole[:size])
        ledger = Ledger(path)
        assert read(ledger) == ENTRIES[:-1]
        assert path.read_bytes() == whole[:size]
        ledger.append(ENTRIES[-1])
        ledger.flush()
        ledger.close()
        assert path.read_bytes() == whole


def test_a_ledger_torn_in_its_header_begins_anew(path):
    whole = path.read_bytes()
    for size in range(whole.index(b"\n") + 1):
        path.write_bytes(whole[:size])
        write(path, ENTRIES)
        assert path.read_bytes() == whole


def test_any_change_in_a_whole_line_is_an_error_that_names_it(path):
    whole = path.read_bytes()
    for place in range(len(whole)):
        if whole[place : place + 1] == b"\n":
            continue
        for bit in (1, 64):
            spoiled = bytearray(whole)
            spoiled[place] ^= bit
            path.write_bytes(spoiled)
            line = whole[:place].count(b"\n") + 1
            with pytest.raises(DatasetError, match=rf"{re.escape(str(path))}, line {line} is broken"):
                read(Ledger(path))


def test_a_line_lost_half_and_joined_to_the_next_is_an_error(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2][:20], *lines[3:]]))
    with pytest.raises(DatasetError, match="line 3 is broken"):
        read(Ledger(path))


def spoiled_header(path, header):
    body = json.dumps(header, separators=(",", ":")).encode()[1:]
    path.write_bytes(b'{"crc":"%08x",%s\n' % (zlib.crc32(body), body))


def test_a_later_version_says_so(path):
    spoiled_header(path, {"kind": "set", "version": 2})
    with pytest.raises(DatasetError, match=r"version 2.*knows 1: update"):
        read(Ledger(path))


@pytest.mark.parametrize("content", [b"some other file", b'{"a": 1}\n', b"\x00" * 100, b"\n\n"])
def test_another_file_is_not_taken_for_a_ledger_nor_overwritten(path, content):
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=re.escape(str(path))):
        read(Ledger(path))
    assert path.read_bytes() == content


def test_a_file_that_begins_with_something_else_is_none(path):
    spoiled_header(path, {"kind": "note"})
    with pytest.raises(DatasetError, match="line 1 is of the kind 'note'"):
        read(Ledger(path))


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_what_is_no_json_is_refused_and_nothing_is_written(path, value):
    before = path.read_bytes()
    ledger = Ledger(path)
    read(ledger)
    with pytest.raises(DatasetError, match="this note is no JSON data"):
        ledger.append({"kind": "note", "value": value})
    ledger.flush()
    assert path.read_bytes() == before


def test_a_failed_write_leaves_the_ledger_as_it_was(path, monkeypatch):
    before = path.read_bytes()
    ledger = Ledger(path)
    read(ledger)

    def half(file, content):
        file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("varifold.dataset.ledger.write_all", half)
        ledger.append(ENTRIES[0])
        with pytest.raises(DatasetError, match="No space left on device; what was there is kept"):
            ledger.flush()
    assert path.read_bytes() == before
    ledger.append(ENTRIES[1])
    ledger.flush()
    assert read(Ledger(path)) == [*ENTRIES, ENTRIES[1]]


def test_a_file_that_takes_a_part_at_a_time_gets_it_all():
    class Slow:
        got = b""

        def write(self, content):
            self.got += bytes(content[:3])
            return min(3, len(content))

    file = Slow()
    files.write_all(file, b"0123456789")
    assert file.got == b"0123456789"
