"""All views: built at once or not at all, the same bytes anywhere, for odd sets too, in little memory."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from view_sets import INFO, contents, odd, ordinary, sample

from varifold.dataset.errors import DatasetError
from varifold.dataset.sample import SPLITS
from varifold.dataset.views import FORMATS, Streamed
from varifold.dataset.views import folder as view_folder


@pytest.fixture(params=FORMATS)
def format(request):
    return request.param


def test_a_view_is_the_same_bytes_in_any_folder_and_built_anew(format, tmp_path):
    found = []
    for name in ("a", "b"):
        samples = ordinary(tmp_path / name)
        FORMATS[format](tmp_path / name, samples, INFO)
        found.append(contents(tmp_path / name / "views" / format))
    (tmp_path / "b/views" / format / "left over").write_text("")
    FORMATS[format](tmp_path / "b", samples, INFO)
    found.append(contents(tmp_path / "b/views" / format))
    assert found[0]
    assert found[0] == found[1] == found[2]
    assert [path.name for path in (tmp_path / "b/views").iterdir()] == [format]


def test_no_samples_are_a_view_too(format, tmp_path):
    FORMATS[format](tmp_path, [], INFO)
    assert (tmp_path / "views" / format).is_dir()


def test_one_sample_is_enough(format, tmp_path):
    FORMATS[format](tmp_path, ordinary(tmp_path, 1), INFO)
    assert contents(tmp_path / "views" / format)


def test_odd_samples_are_borne(format, tmp_path):
    """Nothing lands outside the view, and no file has a name that some system refuses."""
    samples = odd(tmp_path)
    before = contents(tmp_path)
    remarks = FORMATS[format](tmp_path, samples, INFO)
    assert all(isinstance(count, int) and count > 0 for count in remarks.values())
    after = contents(tmp_path)
    assert {path: after[path] for path in before} == before
    for path in after.keys() - before.keys():
        assert path.startswith(f"views/{format}/")
        for part in path.split("/"):
            stem = part.split(".")[0]
            assert stem.lower() not in ("", "con", "nul", "aux")
            assert len(part.encode()) < 255
            assert not set(part) & set('\\:*?"<>|\0')


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"yolo_classify"}))
def test_what_was_cut_or_left_out_is_told(format, tmp_path):
    told = FORMATS[format](tmp_path, odd(tmp_path), INFO)
    assert told["boxes reached out of their picture and were cut at its edge"] == 1
    assert told["objects were left out, for their box has no pixel inside the picture"] == 2
    assert told["objects were left out, for their mask is empty"] == 1


def test_an_undecided_sample_is_not_shown(format, tmp_path):
    samples = odd(tmp_path)
    FORMATS[format](tmp_path, samples, INFO)
    first = contents(tmp_path / "views" / format)
    FORMATS[format](tmp_path, [each for each in samples if each.split], INFO)
    assert contents(tmp_path / "views" / format) == first


def test_an_iterator_is_refused_for_it_is_empty_the_second_time(format, tmp_path):
    samples = ordinary(tmp_path, 4)
    with pytest.raises(DatasetError, match=r"Streamed\(store.samples\)"):
        FORMATS[format](tmp_path, iter(samples), INFO)
    FORMATS[format](tmp_path, samples, INFO)
    first = contents(tmp_path / "views" / format)
    FORMATS[format](tmp_path, Streamed(lambda: iter(samples)), INFO)
    assert contents(tmp_path / "views" / format) == first


def test_a_view_that_fails_leaves_the_old_one(format, tmp_path):
    samples = ordinary(tmp_path)
    FORMATS[format](tmp_path, samples, INFO)
    first = contents(tmp_path / "views" / format)
    gone = replace(samples[7], image="images/zz/gone.png")
    with pytest.raises(DatasetError, match=r"gone\.png"):
        FORMATS[format](tmp_path, [*samples[:7], gone, *samples[8:]], INFO)
    assert contents(tmp_path / "views") == {f"{format}/{path}": content for path, content in first.items()}


def test_a_full_disk_is_told_and_leaves_the_old_view(tmp_path, monkeypatch):
    samples = ordinary(tmp_path)
    FORMATS["coco"](tmp_path, samples, INFO)
    first = contents(tmp_path / "views")

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(view_folder, "_link", full)
    with pytest.raises(DatasetError, match=r"cannot build .*coco: .*No space left.*the set itself is unharmed"):
        FORMATS["coco"](tmp_path, samples, INFO)
    assert contents(tmp_path / "views") == first


def test_two_samples_of_one_id_are_refused(tmp_path):
    samples = ordinary(tmp_path, 1)
    with pytest.raises(DatasetError, match="their ids must differ"):
        FORMATS["coco"](tmp_path, samples * 2, INFO)


def test_a_number_that_json_has_not_is_refused(tmp_path):
    samples = [replace(each, provenance={"x": float("nan")}) for each in ordinary(tmp_path, 1)]
    with pytest.raises(DatasetError, match="cannot be written as JSON"):
        FORMATS["webdataset"](tmp_path, samples, INFO)


def test_an_id_that_is_no_file_name_becomes_one(tmp_path):
    samples = [replace(each, id=f"../../../../{number}.x") for number, each in enumerate(ordinary(tmp_path, 2))]
    before = contents(tmp_path)
    FORMATS["imagefolder"](tmp_path, samples, INFO)
    assert all(path in before or path.startswith("views/imagefolder/") for path in contents(tmp_path))


def test_pictures_are_links_where_there_are_any_and_copies_elsewhere(tmp_path, monkeypatch):
    samples = ordinary(tmp_path, 4)
    FORMATS["coco"](tmp_path, samples, INFO)
    linked = contents(tmp_path / "views/coco")
    target = tmp_path / "views/coco/train" / f"{samples[0].id}.png"
    assert target.samefile(tmp_path / samples[0].image)

    def none(source: object, target: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", none)
    FORMATS["coco"](tmp_path, samples, INFO)
    assert contents(tmp_path / "views/coco") == linked
    assert not target.samefile(tmp_path / samples[0].image)


def test_where_folders_cannot_trade_places_they_are_renamed(tmp_path, monkeypatch):
    samples = ordinary(tmp_path, 4)
    FORMATS["coco"](tmp_path, samples, INFO)
    monkeypatch.setattr(view_folder, "_exchange", lambda a, b: False)
    FORMATS["coco"](tmp_path, samples[:2], INFO)
    assert len(list((tmp_path / "views/coco/train").iterdir())) == 2
    assert [path.name for path in (tmp_path / "views").iterdir()] == ["coco"]

    (tmp_path / "views/coco").rename(tmp_path / "views/.coco.old")  # as a kill between two renames leaves it
    with pytest.raises(DatasetError, match="their ids must differ"):
        FORMATS["coco"](tmp_path, samples[:1] * 2, INFO)
    assert len(list((tmp_path / "views/coco/train").iterdir())) == 2


BUILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from view_sets import INFO, ordinary
from varifold.dataset.views import FORMATS
folder = Path(sys.argv[1])
samples = ordinary(folder, 40)
print("ready", flush=True)
while True:
    for count in (40, 20):
        FORMATS[sys.argv[2]](folder, samples[:count], INFO)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize(
    ("format", "kills"), [("coco", 6), *(pytest.param(name, 20, marks=pytest.mark.heavy) for name in FORMATS)]
)
def test_a_kill_at_any_moment_leaves_a_whole_view(format, kills, tmp_path):
    """The one before or the one after, of two that are built in turn; then building goes on as if nothing had been."""
    whole = []
    samples = ordinary(tmp_path, 40)
    for count in (40, 20):
        FORMATS[format](tmp_path, samples[:count], INFO)
        whole.append(contents(tmp_path / "views" / format))
    assert whole[0] != whole[1]
    rng = random.Random(format)
    for _ in range(kills):
        command = [sys.executable, "-c", BUILD, tmp_path, format, Path(__file__).parents[1]]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
        assert contents(tmp_path / "views" / format) in whole
    FORMATS[format](tmp_path, samples, INFO)
    assert contents(tmp_path / "views") == {f"{format}/{path}": content for path, content in whole[0].items()}


class Many:
    """So many samples, made as they are asked for, of few files."""

    def __init__(self, few, count):
        self.few, self.count = few, count

    def __iter__(self):
        for number in range(self.count):
            yield replace(self.few[number % len(self.few)], id=f"{number:016x}", split=SPLITS[number % 3])


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"parquet", "voc"}))
def test_memory_does_not_grow_with_the_set(format, tmp_path):
    few = [replace(sample(tmp_path, number, "train", label="cat"), caption="a cat") for number in range(8)]
    FORMATS[format](tmp_path, Many(few, 50), INFO)
    peaks = []
    for count in (100, 1000, 1000):
        tracemalloc.start()
        FORMATS[format](tmp_path, Many(few, count), INFO)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        shutil.rmtree(tmp_path / "views")
    # A sample is more than 1000 bytes. What else the process does meanwhile, it does not do twice.
    assert min(peaks[1:]) < peaks[0] + 100_000
