"""Loading, saving, showing and scaling pictures."""

from __future__ import annotations

import hashlib
import mimetypes
import random
import string
from typing import TYPE_CHECKING, Any

from .. import folders

if TYPE_CHECKING:
    import torch

MOST = 16384


class LoadImage:
    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "load_image"
    CATEGORY = "image"

    @classmethod
    def INPUT_TYPES(cls):
        folder = folders.current().input[0]
        names = sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
        pictures = [name for name in names if (mimetypes.guess_type(name)[0] or "").startswith("image/")]
        return {"required": {"image": (pictures, {"image_upload": True})}}

    @classmethod
    def VALIDATE_INPUTS(cls, image):
        try:
            folders.current().find(image)
        except (OSError, ValueError) as error:
            return f"Invalid image file: {image}: {error}"
        return True

    @classmethod
    def IS_CHANGED(cls, image):
        return hashlib.sha256(folders.current().find(image).read_bytes()).hexdigest()

    def load_image(self, image: str):
        from ..image_files import load_picture

        return load_picture(folders.current().find(image))


class SaveImage:
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("images",)
    FUNCTION = "save_images"
    OUTPUT_NODE = True
    CATEGORY = "image"
    DESCRIPTION = "Saves the input images to your output folder."
    folder = "output"
    suffix = ""
    compress_level = 4

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "The images to save."}),
                "filename_prefix": (
                    "STRING",
                    {
                        "default": "ComfyUI",
                        "tooltip": "The prefix for the file to save. This may include formatting information "
                        "such as %date:yyyy-MM-dd% or %Empty Latent Image.width% to include values from nodes.",
                    },
                ),
            },
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    def save_images(
        self,
        images: torch.Tensor,
        filename_prefix: str = "ComfyUI",
        prompt: dict | None = None,
        extra_pnginfo: dict | None = None,
    ):
        from ..image_files import picture_of, write_png

        if len(images) == 0:
            raise ValueError("there is no picture to save: the batch is empty")
        root = getattr(folders.current(), self.folder)
        height, width = images[0].shape[:2]
        files = folders.series(root, filename_prefix + self.suffix, width, height)
        texts: dict[str, Any] = {} if prompt is None else {"prompt": prompt}
        texts |= extra_pnginfo or {}
        saved, number = [], files.first
        for index, image in enumerate(images):
            picture = picture_of(image)
            stem = files.stem.replace("%batch_num%", str(index))
            name, number = folders.write_next(
                files.folder, stem, number, lambda file, p=picture: write_png(file, p, texts, self.compress_level)
            )
            number += 1
            saved.append({"filename": name, "subfolder": files.subfolder, "type": self.folder})
        return {"ui": {"images": saved}, "result": (images,)}


class PreviewImage(SaveImage):
    DESCRIPTION = "Shows the images without saving them to the output folder."
    folder = "temp"
    compress_level = 1

    def __init__(self):
        self.suffix = "_temp_" + "".join(random.choices(string.ascii_lowercase, k=5))

    @classmethod
    def INPUT_TYPES(cls):
        hidden = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
        return {"required": {"images": ("IMAGE",)}, "hidden": hidden}


class ImageScale:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"
    CATEGORY = "image/upscaling"

    @classmethod
    def INPUT_TYPES(cls):
        from ..resample import METHODS

        return {
            "required": {
                "image": ("IMAGE",),
                "upscale_method": (METHODS,),
                "width": ("INT", {"default": 512, "min": 0, "max": MOST, "step": 1}),
                "height": ("INT", {"default": 512, "min": 0, "max": MOST, "step": 1}),
                "crop": (["disabled", "center"],),
            }
        }

    def upscale(self, image: torch.Tensor, upscale_method: str, width: int, height: int, crop: str):
        from ..resample import resize

        if width == 0 and height == 0:
            return (image,)
        old_height, old_width = image.shape[1:3]
        width = width or max(1, round(old_width * height / old_height))
        height = height or max(1, round(old_height * width / old_width))
        return (resize(image, width, height, upscale_method, crop),)


class ImageScaleBy:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"
    CATEGORY = "image/upscaling"

    @classmethod
    def INPUT_TYPES(cls):
        from ..resample import METHODS

        return {
            "required": {
                "image": ("IMAGE",),
                "upscale_method": (METHODS,),
                "scale_by": ("FLOAT", {"default": 1.0, "min": 0.01, "max": 8.0, "step": 0.01}),
            }
        }

    def upscale(self, image: torch.Tensor, upscale_method: str, scale_by: float):
        from ..resample import resize

        height, width = image.shape[1:3]
        return (resize(image, round(width * scale_by), round(height * scale_by), upscale_method),)


class RepeatImageBatch:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "execute"
    CATEGORY = "image/batch"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "amount": ("INT", {"default": 1, "min": 1, "max": 4096})}}

    def execute(self, image: torch.Tensor, amount: int):
        return (image.repeat(amount, 1, 1, 1),)


class ImageBatch:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "batch"
    CATEGORY = "image/batch"
    DEPRECATED = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image1": ("IMAGE",), "image2": ("IMAGE",)}}

    def batch(self, image1: torch.Tensor, image2: torch.Tensor):
        import torch

        from ..resample import resize

        channels = max(image1.shape[-1], image2.shape[-1])
        image1, image2 = (_with_alpha(image) if image.shape[-1] < channels else image for image in (image1, image2))
        if image1.shape[1:3] != image2.shape[1:3]:
            image2 = resize(image2, image1.shape[2], image1.shape[1], "bilinear", "center")
        return (torch.cat((image1, image2)),)


def _with_alpha(image: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import pad

    return pad(image, (0, 1), value=1.0)


class ImageCompare:
    RETURN_TYPES = ()
    FUNCTION = "execute"
    OUTPUT_NODE = True
    CATEGORY = "image"
    DESCRIPTION = "Compares two images side by side with a slider."
    EXPERIMENTAL = True
    ESSENTIALS_CATEGORY = "Image Tools"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"compare_view": ("IMAGECOMPARE", {"socketless": True})},
            "optional": {"image_a": ("IMAGE",), "image_b": ("IMAGE",)},
        }

    def execute(self, compare_view: object = None, image_a=None, image_b=None):
        shown = {}
        for side, image in (("a", image_a), ("b", image_b)):
            there = image is not None and len(image) > 0
            saved = PreviewImage().save_images(image, f"comfy.compare.{side}") if there else {"ui": {"images": []}}
            shown[f"{side}_images"] = saved["ui"]["images"]
        return {"ui": shown}


NODES: dict[str, tuple[str, type]] = {
    "LoadImage": ("Load Image", LoadImage),
    "SaveImage": ("Save Image", SaveImage),
    "PreviewImage": ("Preview Image", PreviewImage),
    "ImageScale": ("Upscale Image", ImageScale),
    "ImageScaleBy": ("Upscale Image By", ImageScaleBy),
    "RepeatImageBatch": ("Repeat Image Batch", RepeatImageBatch),
    "ImageBatch": ("Batch Images", ImageBatch),
    "ImageCompare": ("Compare Images", ImageCompare),
}
