"""Ultralytics reads data.yaml, labels and folders: prints what it found in a copy of the views, as JSON.

A copy, for it leaves caches beside the labels.
"""

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile

scratch = tempfile.mkdtemp()
os.environ |= {"YOLO_CONFIG_DIR": scratch, "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
import torch  # noqa: E402

try:
    import torchvision  # noqa: F401
except RuntimeError:
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
from ultralytics.cfg import get_cfg  # noqa: E402
from ultralytics.data.dataset import ClassificationDataset, YOLODataset  # noqa: E402
from ultralytics.data.utils import check_det_dataset  # noqa: E402

views = shutil.copytree(sys.argv[1], f"{scratch}/views")
settings = get_cfg(overrides={"imgsz": 56, "cache": False})
found = {}
with contextlib.redirect_stdout(io.StringIO()):
    for task in ("detect", "segment"):
        data = check_det_dataset(f"{views}/yolo_{task}/data.yaml", autodownload=False)
        found[task] = {"names": list(data["names"].values())}
        for split in ("train", "val", "test"):
            read = YOLODataset(img_path=data[split], data=data, task=task, augment=False, hyp=settings, imgsz=56)
            found[task][split] = {
                os.path.basename(each["im_file"])[:16]: [each["cls"][:, 0].tolist(), each["bboxes"].tolist()]
                for each in read.labels
            }
    folders = ClassificationDataset(f"{views}/yolo_classify/train", args=settings)
    found["classify"] = {"count": len(folders), "classes": folders.base.classes}
print(json.dumps(found))
