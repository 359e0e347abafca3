"""TensorFlow reads TFRecord files and their examples: prints what it found, as JSON."""

import glob
import json
import sys

import tensorflow

found = {}
for split in ("train", "val", "test"):
    found[split] = []
    for record in tensorflow.data.TFRecordDataset(sorted(glob.glob(f"{sys.argv[1]}/tfrecord/{split}-*"))):
        example = tensorflow.train.Example.FromString(record.numpy()).features.feature
        picture = tensorflow.io.decode_image(example["image/encoded"].bytes_list.value[0])
        masks = [tensorflow.io.decode_image(mask, channels=1) for mask in example["image/object/mask"].bytes_list.value]
        found[split].append(
            {
                "id": example["image/source_id"].bytes_list.value[0].decode(),
                "shape": picture.shape.as_list(),
                "label": example["image/class/text"].bytes_list.value[0].decode(),
                "left": list(example["image/object/bbox/xmin"].float_list.value),
                "classes": list(example["image/object/class/label"].int64_list.value),
                "pixels": [int((mask.numpy() > 0).sum()) for mask in masks],
            }
        )
print(json.dumps(found))
