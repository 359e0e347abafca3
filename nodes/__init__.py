"""The nodes that artists see: thin, one file a family."""

from .compare_models import VarifoldCompareModels
from .compose import VarifoldCompose
from .denoiser import VarifoldLoadDenoiser, VarifoldPrompt
from .explain import VarifoldExplain
from .export_dataset import VarifoldExportDataset
from .fit import VarifoldFitSchedule
from .forward_process import VarifoldForwardProcess
from .generate import VarifoldGenerate, VarifoldLoadGenerator
from .guidance import VarifoldGuidance
from .load_dataset import VarifoldLoadDataset
from .lora import VarifoldLoRA
from .measure_dataset import VarifoldMeasureDataset
from .model import VarifoldFromModel
from .noise import VarifoldNoise
from .palette import VarifoldSnapPalette
from .palette_transfer import VarifoldPalette
from .sample_picture import VarifoldSamplePicture
from .sampler import VarifoldSampler
from .schedule import VarifoldSchedule
from .sheet import VarifoldSheet
from .solver import VarifoldSolver
from .style_model import VarifoldStyleModel
from .style_transfer import VarifoldStyleTransfer
from .sweep import VarifoldSweep
from .toy import VarifoldToy
from .trace import VarifoldTrace
from .train_denoiser import VarifoldTrainDenoiser
from .train_generator import VarifoldTrainAutoencoder, VarifoldTrainGAN
from .training_pictures import VarifoldPictures

NODES = {
    "Load Denoiser": VarifoldLoadDenoiser,
    "LoRA": VarifoldLoRA,
    "From Model": VarifoldFromModel,
    "Toy Denoiser": VarifoldToy,
    "Prompt": VarifoldPrompt,
    "Noise Schedule": VarifoldSchedule,
    "Solver": VarifoldSolver,
    "Fit Schedule": VarifoldFitSchedule,
    "Noise": VarifoldNoise,
    "Guidance": VarifoldGuidance,
    "Sampler": VarifoldSampler,
    "Trace": VarifoldTrace,
    "Sheet": VarifoldSheet,
    "Style Transfer": VarifoldStyleTransfer,
    "Style Model": VarifoldStyleModel,
    "Palette": VarifoldPalette,
    "Snap Palette": VarifoldSnapPalette,
    "Sample Picture": VarifoldSamplePicture,
    "Sweep": VarifoldSweep,
    "Compose": VarifoldCompose,
    "Export Dataset": VarifoldExportDataset,
    "Load Dataset": VarifoldLoadDataset,
    "Measure Dataset": VarifoldMeasureDataset,
    "Training Pictures": VarifoldPictures,
    "Train Denoiser": VarifoldTrainDenoiser,
    "Train Autoencoder": VarifoldTrainAutoencoder,
    "Train GAN": VarifoldTrainGAN,
    "Load Generator": VarifoldLoadGenerator,
    "Generate": VarifoldGenerate,
    "Compare Models": VarifoldCompareModels,
    "Explain": VarifoldExplain,
    "Forward Process": VarifoldForwardProcess,
}

NODE_CLASS_MAPPINGS = {node.__name__: node for node in NODES.values()}
NODE_DISPLAY_NAME_MAPPINGS = {node.__name__: f"{title} (Varifold)" for title, node in NODES.items()}
