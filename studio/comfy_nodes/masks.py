"""Masks: to and from pictures, and as their transparency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .images import LoadImage

if TYPE_CHECKING:
    import torch

CHANNELS = ("red", "green", "blue", "alpha")


class SplitImageWithAlpha:
    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "execute"
    CATEGORY = "image/compositing"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}

    def execute(self, image: torch.Tensor):
        import torch

        mask = 1.0 - image[..., 3] if image.shape[-1] > 3 else torch.zeros_like(image[..., 0])
        return image[..., :3], mask


class JoinImageWithAlpha:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "execute"
    CATEGORY = "image/compositing"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "alpha": ("MASK",)}}

    def execute(self, image: torch.Tensor, alpha: torch.Tensor):
        import torch

        batch = max(len(image), len(alpha))
        mask = alpha.to(image).reshape(-1, 1, *alpha.shape[-2:])
        mask = torch.nn.functional.interpolate(mask, size=image.shape[1:3], mode="bilinear")
        opacity = _cycled(1.0 - mask.movedim(1, -1), batch)
        return (torch.cat((_cycled(image[..., :3], batch), opacity), dim=-1),)


def _cycled(pictures: torch.Tensor, batch: int) -> torch.Tensor:
    """The first `batch` pictures of an endless repetition."""
    import torch

    return pictures[torch.arange(batch) % len(pictures)]


class InvertMask:
    RETURN_TYPES = ("MASK",)
    FUNCTION = "execute"
    CATEGORY = "image/mask"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"mask": ("MASK",)}}

    def execute(self, mask: torch.Tensor):
        return (1.0 - mask,)


class LoadImageMask(LoadImage):
    RETURN_TYPES = ("MASK",)
    FUNCTION = "load_image_mask"

    @classmethod
    def INPUT_TYPES(cls):
        required = super().INPUT_TYPES()["required"]
        return {"required": {**required, "channel": (["alpha", "red", "green", "blue"],)}}

    @classmethod
    def VALIDATE_INPUTS(cls, image):
        return super().VALIDATE_INPUTS(image)

    @classmethod
    def IS_CHANGED(cls, image, channel):
        return super().IS_CHANGED(image)

    def load_image_mask(self, image: str, channel: str):
        picture, mask = self.load_image(image)
        return (mask if channel == "alpha" else picture[..., CHANNELS.index(channel)].clone(),)


class MaskToImage:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "execute"
    CATEGORY = "image/mask"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"mask": ("MASK",)}}

    def execute(self, mask: torch.Tensor):
        return (mask.reshape(-1, *mask.shape[-2:], 1).expand(-1, -1, -1, 3),)


class ImageToMask:
    RETURN_TYPES = ("MASK",)
    FUNCTION = "execute"
    CATEGORY = "image/mask"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "channel": (list(CHANNELS),)}}

    def execute(self, image: torch.Tensor, channel: str):
        number = CHANNELS.index(channel)
        if number >= image.shape[-1]:
            raise ValueError(f"this image has no {channel} channel: it has {image.shape[-1]}")
        return (image[..., number],)


NODES: dict[str, tuple[str, type]] = {
    "LoadImageMask": ("Load Image (as Mask)", LoadImageMask),
    "JoinImageWithAlpha": ("Join Image with Alpha", JoinImageWithAlpha),
    "SplitImageWithAlpha": ("Split Image with Alpha", SplitImageWithAlpha),
    "InvertMask": ("Invert Mask", InvertMask),
    "MaskToImage": ("Convert Mask to Image", MaskToImage),
    "ImageToMask": ("Convert Image to Mask", ImageToMask),
}
