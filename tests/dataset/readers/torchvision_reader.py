"""torchvision's readers of ImageFolder, COCO and VOC: prints what they found, as JSON."""

import contextlib
import io
import json
import sys

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:  # a build for another torch: its readers need none of its operators
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
from torchvision.datasets import CocoCaptions, CocoDetection, ImageFolder, VOCDetection, VOCSegmentation

views = sys.argv[1]
found = {}
with contextlib.redirect_stdout(io.StringIO()):
    folder = ImageFolder(f"{views}/imagefolder/train")
    found["imagefolder"] = [[path.rsplit("/", 1)[1], folder.classes[number]] for path, number in folder.samples]
    instances = CocoDetection(f"{views}/coco/train", f"{views}/coco/annotations/instances_train.json")
    found["coco"] = [[image.size, [each["bbox"] for each in marks]] for image, marks in instances]
    captions = CocoCaptions(f"{views}/coco/train", f"{views}/coco/annotations/captions_train.json")
    found["captions"] = [told for _, told in captions]
    for split in ("train", "val", "trainval"):
        detection = VOCDetection(f"{views}/voc", "2012", split)
        found[f"voc {split}"] = [
            [about["annotation"]["filename"], [each["name"] for each in about["annotation"]["object"]]]
            for _, about in detection
        ]
    segmentation = VOCSegmentation(f"{views}/voc", "2012", "train")
    found["masks"] = [[image.size, mask.size, mask.mode, max(mask.tobytes())] for image, mask in segmentation]
print(json.dumps(found))
