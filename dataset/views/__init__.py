"""Formats in which others read a set. Each is built from the ledger and the immutable files, and can be built anew.

FORMATS: name -> write(folder, samples, info), which builds FOLDER/views/NAME and returns remark -> how many times it
applies. Samples whose split is not decided yet are not shown.
"""

from . import card, coco, croissant, imagefolder, parquet, tfrecord, voc, webdataset, yolo
from .info import Info, Streamed

FORMATS = {
    "imagefolder": imagefolder.write,
    "coco": coco.write,
    "yolo_detect": yolo.write_detect,
    "yolo_segment": yolo.write_segment,
    "yolo_classify": yolo.write_classify,
    "voc": voc.write,
    "webdataset": webdataset.write,
    "tfrecord": tfrecord.write,
    "parquet": parquet.write,
    "croissant": croissant.write,
    "card": card.write,
}

__all__ = ["FORMATS", "Info", "Streamed"]
