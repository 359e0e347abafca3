"""ComfyUI as a host. Beside it only the other comfyui_*.py import anything of ComfyUI's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import comfy.utils
import folder_paths

from .comfyui_models import ComfyModels

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ...models.denoising.autoencoder import Autoencoder
    from ...models.denoising.denoiser import Denoiser
    from ...models.generating import Generator

PREVIEW_SIDE = 512
NO_MODELS = ("configs", "custom_nodes")


class ComfyProgress:
    wants_preview = True

    def __init__(self, total: int):
        self.bar = comfy.utils.ProgressBar(total)

    def update(self, done: int, preview: Image.Image | None = None, note: str = "") -> None:
        self.bar.update_absolute(done, preview=preview and ("JPEG", preview, PREVIEW_SIDE))


class ComfyHost:
    """Progress, interrupts, folders and memory through ComfyUI's own modules."""

    models = ComfyModels()
    part = (0, 1)

    def __init__(self) -> None:
        folder_paths.add_model_folder_path("varifold", str(Path(folder_paths.models_dir) / "varifold"))

    def device(self) -> torch.device:
        return comfy.model_management.get_torch_device()

    def check_cancelled(self) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()

    def progress(self, total: int) -> ComfyProgress:
        return ComfyProgress(total)

    def denoiser_files(self) -> dict[str, str]:
        return _safetensors(("varifold", "diffusion_models", "checkpoints"))

    def autoencoder_files(self) -> dict[str, str]:
        return _safetensors(("vae", "vae_approx", "varifold", "checkpoints"))

    def lora_files(self) -> dict[str, str]:
        return _safetensors(("loras",))

    def cache_folder(self) -> Path:
        return Path(folder_paths.get_user_directory()) / "varifold"

    def output_folder(self) -> Path:
        return Path(folder_paths.get_output_directory())

    def input_folders(self) -> tuple[Path, ...]:
        return (Path(folder_paths.get_input_directory()),)

    def temp_folder(self) -> Path:
        return Path(folder_paths.get_temp_directory())

    def named_file(self, name: str) -> Path | None:
        if folder_paths.exists_annotated_filepath(name):
            path = Path(folder_paths.get_annotated_filepath(name))
            return path if path.is_file() else None
        known = self.denoiser_files() | self.autoencoder_files() | self.lora_files()
        folders = (folder for folder in folder_paths.folder_names_and_paths if folder not in NO_MODELS)
        found = (folder_paths.get_full_path(folder, name) for folder in folders)
        path = known.get(name) or next(filter(None, found), None)
        return path and Path(path)

    def adopt(self, loaded: Denoiser | Autoencoder | Generator) -> None:
        # ComfyUI's cache looks for a `.patcher` on what nodes return, to know what memory it holds.
        loaded.patcher = comfy.model_patcher.ModelPatcher(
            loaded.net,
            load_device=self.device(),
            offload_device=comfy.model_management.unet_offload_device(),
        )

    def load(self, *adopted: Denoiser | Autoencoder | Generator) -> None:
        # Plain layers cannot run half loaded: only ComfyUI's own cast their weights on the way.
        comfy.model_management.load_models_gpu([each.patcher for each in adopted], force_full_load=True)

    def sampler(self, function: Callable) -> comfy.samplers.KSAMPLER:
        return comfy.samplers.KSAMPLER(function)


def _safetensors(folders: tuple[str, ...]) -> dict[str, str]:
    files = {
        f"{folder}/{name}": folder_paths.get_full_path(folder, name)
        for folder in folders
        if folder in folder_paths.folder_names_and_paths
        for name in folder_paths.get_filename_list(folder)
        if name.endswith(".safetensors")
    }
    # A link that leads nowhere has a name and no path.
    return {name: path for name, path in files.items() if path is not None}
