"""Pascal VOC: annotations that a hardened parser reads, and palette masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from defusedxml import ElementTree
from PIL import Image
from view_sets import INFO, box_of, everything, marked, odd, ordinary, ring, sample

from varifold.dataset.sample import Instance
from varifold.dataset.views import voc
from varifold.dataset.views.objects import read_mask


def stage(folder):
    return folder / "views/voc/VOCdevkit/VOC2012"


def parsed(folder, sample):
    return ElementTree.parse(stage(folder) / "Annotations" / f"{sample.id}.xml", forbid_dtd=True).getroot()


def pixels(folder, part, sample):
    with Image.open(stage(folder) / part / f"{sample.id}.png") as image:
        assert image.mode == "P"
        return np.asarray(image)


def test_annotations_tell_size_objects_and_boxes(tmp_path):
    samples = ordinary(tmp_path)
    voc.write(tmp_path, samples, INFO)
    for each in samples:
        root = parsed(tmp_path, each)
        with Image.open(stage(tmp_path) / "JPEGImages" / root.findtext("filename")) as image:
            assert image.format == "JPEG"
            size = root.find("size")
            assert image.size == (int(size.findtext("width")), int(size.findtext("height")))
        for element, instance in zip(root.findall("object"), each.instances, strict=True):
            assert element.findtext("name") == instance.label
            box = [int(element.find("bndbox").findtext(name)) for name in ("xmin", "ymin", "xmax", "ymax")]
            x, y, width, height = instance.box
            assert box == [x + 1, y + 1, x + width, y + height]
            assert int(element.findtext("occluded")) == (instance.visibility < 1)
            assert element.findtext("truncated") == "0"


def test_pixels_of_masks_are_numbers_of_classes_and_objects(tmp_path):
    samples = ordinary(tmp_path)
    voc.write(tmp_path, samples, INFO)
    numbers = {"cat": 1, "dog/wolf": 2}
    for each in samples:
        masks = [read_mask(tmp_path, instance.mask, each) for instance in each.instances]
        by_class, by_object = (pixels(tmp_path, f"Segmentation{part}", each) for part in ("Class", "Object"))
        assert np.array_equal(by_object > 0, np.any(masks, axis=0))
        for number, (mask, instance) in enumerate(zip(masks, each.instances, strict=True), 1):
            alone = mask & (np.sum(masks, axis=0) == 1)
            assert (by_object[alone] == number).all()
            assert (by_class[by_object == number] == numbers[instance.label]).all()


def test_where_objects_overlap_the_smaller_is_seen(tmp_path):
    instances = (marked(tmp_path, "small", ring()), marked(tmp_path, "big", everything()))
    each = sample(tmp_path, 0, "train", instances=instances)
    voc.write(tmp_path, [each], INFO)
    assert np.array_equal(pixels(tmp_path, "SegmentationObject", each), np.where(ring(), 1, 2))


def test_the_palette_is_that_of_voc():
    expected = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert voc.PALETTE[:7].tolist() == list(map(list, expected))
    assert voc.PALETTE[8].tolist() == [64, 0, 0]
    assert voc.PALETTE[20].tolist() == [0, 64, 128]
    assert voc.PALETTE[255].tolist() == [224, 224, 192]


def test_lists_name_the_pictures_of_each_split(tmp_path):
    samples = odd(tmp_path)
    voc.write(tmp_path, samples, INFO)
    for name, wanted in {"train": {"train"}, "val": {"val"}, "trainval": {"train", "val"}, "test": {"test"}}.items():
        listed = (stage(tmp_path) / "ImageSets/Main" / f"{name}.txt").read_text().split()
        assert listed == [each.id for each in samples if each.split in wanted]
        for each in (stage(tmp_path) / "ImageSets/Segmentation" / f"{name}.txt").read_text().split():
            assert (stage(tmp_path) / "SegmentationClass" / f"{each}.png").is_file()


def test_odd_labels_and_boxes_are_xml_all_the_same(tmp_path):
    samples = odd(tmp_path)
    voc.write(tmp_path, samples, INFO)
    assert parsed(tmp_path, samples[5]).find("object").findtext("name") == "a??<&"
    (cut,) = parsed(tmp_path, samples[2]).findall("object")
    assert cut.findtext("truncated") == "1"
    assert [cut.find("bndbox")[place].text for place in range(4)] == ["1", "31", "17", "40"]


def test_a_jpeg_is_linked_and_other_pictures_keep_the_mark_of_their_making(tmp_path):
    samples = odd(tmp_path)
    told = voc.write(tmp_path, samples, INFO)
    jpeg = stage(tmp_path) / "JPEGImages" / f"{samples[4].id}.jpg"
    assert jpeg.read_bytes() == (tmp_path / samples[4].image).read_bytes()
    assert [count for remark, count in told.items() if "encoded as JPEG" in remark] == [6]
    for each in (samples[0], samples[5], samples[6]):
        with Image.open(stage(tmp_path) / "JPEGImages" / f"{each.id}.jpg") as image:
            assert b"trainedAlgorithmicMedia" in image.info["xmp"]


@pytest.mark.parametrize("classes", [254, 255])
def test_more_classes_than_a_palette_has_leave_masks_out(tmp_path, classes):
    instances = [Instance(f"{number:03}", (0.0, 0.0, 1.0, 1.0)) for number in range(classes - 1)]
    instances.append(marked(tmp_path, "999", ring()))
    each = sample(tmp_path, 0, "train", instances=tuple(instances))
    told = voc.write(tmp_path, [each], INFO)
    if classes > 254:
        assert told[voc.TOO_MANY_CLASSES] == 1
        assert parsed(tmp_path, each).findtext("segmented") == "0"
    else:
        assert pixels(tmp_path, "SegmentationClass", each).max() == 254


def test_more_objects_than_a_palette_has_leave_masks_out(tmp_path):
    one = marked(tmp_path, "one", ring())
    each = sample(tmp_path, 0, "train", instances=(one,) * 255)
    assert voc.write(tmp_path, [each, replace(each, id="b", instances=(one,) * 254)], INFO)[voc.TOO_MANY_OBJECTS] == 1
    assert box_of(ring()) == one.box
