"""What nodes declare: the contract that saved workflows rely on, and everything that a user is told."""

import inspect

import pytest

from varifold import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

# node id -> required, optional, outputs. Workflows keep widget values by position: inputs are only ever appended.
CONTRACT = {
    "VarifoldCompareModels": (
        "pictures:VARIFOLD_PICTURES names:STRING count:INT steps:INT guidance:FLOAT likelihood:COMBO seed:INT",
        "denoiser_1:VARIFOLD_DENOISER denoiser_2:VARIFOLD_DENOISER denoiser_3:VARIFOLD_DENOISER "
        "denoiser_4:VARIFOLD_DENOISER generator_1:VARIFOLD_GENERATOR generator_2:VARIFOLD_GENERATOR "
        "generator_3:VARIFOLD_GENERATOR generator_4:VARIFOLD_GENERATOR",
        "sheet:IMAGE table:IMAGE report:STRING",
    ),
    "VarifoldExplain": (
        "what:COMBO words:STRING seed:INT count:INT steps:INT guidance:FLOAT",
        "denoiser:VARIFOLD_DENOISER generator:VARIFOLD_GENERATOR pictures:VARIFOLD_PICTURES",
        "sheet:IMAGE pictures:IMAGE report:STRING",
    ),
    "VarifoldForwardProcess": (
        "images:IMAGE process:COMBO steps:INT until:FLOAT images_seen:INT seed:INT",
        "pictures:VARIFOLD_PICTURES",
        "sheet:IMAGE frames:IMAGE report:STRING",
    ),
    "VarifoldTrainDenoiser": (
        "pictures:VARIFOLD_PICTURES name:STRING size:COMBO prediction:COMBO weighting:COMBO images:INT batch:INT "
        "rate:FLOAT precision:COMBO seed:INT",
        "denoiser:VARIFOLD_DENOISER frozen:FLOAT",
        "denoiser:VARIFOLD_DENOISER report:STRING curve:IMAGE samples:IMAGE",
    ),
    "VarifoldTrainAutoencoder": (
        "pictures:VARIFOLD_PICTURES name:STRING kind:COMBO size:COMBO latent_side:INT latent_channels:INT beta:FLOAT "
        "images:INT batch:INT rate:FLOAT precision:COMBO seed:INT",
        "",
        "generator:VARIFOLD_GENERATOR report:STRING curve:IMAGE samples:IMAGE",
    ),
    "VarifoldTrainGAN": (
        "pictures:VARIFOLD_PICTURES name:STRING size:COMBO gamma:FLOAT images:INT batch:INT rate:FLOAT precision:COMBO "
        "seed:INT",
        "",
        "generator:VARIFOLD_GENERATOR report:STRING curve:IMAGE samples:IMAGE",
    ),
    "VarifoldLoadDenoiser": (
        "file:COMBO precision:COMBO prediction:COMBO",
        "autoencoder:COMBO",
        "denoiser:VARIFOLD_DENOISER report:STRING",
    ),
    "VarifoldLoRA": (
        "denoiser:VARIFOLD_DENOISER file:COMBO strength:FLOAT",
        "",
        "denoiser:VARIFOLD_DENOISER report:STRING",
    ),
    "VarifoldFromModel": ("model:MODEL", "vae:VAE", "denoiser:VARIFOLD_DENOISER"),
    "VarifoldFitSchedule": (
        "denoiser:VARIFOLD_DENOISER solver:COMBO steps:INT guidance:FLOAT prompts:STRING trajectories:INT seed:INT "
        "fitted:STRING",
        "positive:CONDITIONING negative:CONDITIONING latent:LATENT",
        "sigmas:SIGMAS sampler:SAMPLER report:STRING",
    ),
    "VarifoldNoise": ("seed:INT", "", "noise:NOISE"),
    "VarifoldToy": ("shape:COMBO modes:INT spread:FLOAT space:COMBO", "", "denoiser:VARIFOLD_DENOISER"),
    "VarifoldPrompt": (
        "denoiser:VARIFOLD_DENOISER text:STRING unknown:COMBO",
        "",
        "conditioning:CONDITIONING",
    ),
    "VarifoldSchedule": (
        "curve:COMBO steps:INT denoise:FLOAT sigma_max:FLOAT sigma_min:FLOAT rho:FLOAT shift:FLOAT betas:COMBO "
        "zero_terminal_snr:BOOLEAN points:STRING",
        "denoiser:VARIFOLD_DENOISER model:MODEL alpha:FLOAT beta:FLOAT mu:FLOAT family:COMBO coefficient:FLOAT "
        "width:INT height:INT",
        "sigmas:SIGMAS",
    ),
    "VarifoldSolver": (
        "solver:COMBO eta:FLOAT s_noise:FLOAT order:INT variant:COMBO r:FLOAT",
        "gamma:FLOAT",
        "sampler:SAMPLER",
    ),
    "VarifoldGuidance": (
        "denoiser:VARIFOLD_DENOISER method:COMBO rescale:FLOAT from_sigma:FLOAT to_sigma:FLOAT",
        "guide:VARIFOLD_DENOISER empty:CONDITIONING strength:FLOAT eta:FLOAT norm_threshold:FLOAT momentum:FLOAT "
        "zero_init:INT",
        "denoiser:VARIFOLD_DENOISER",
    ),
    "VarifoldSampler": (
        "denoiser:VARIFOLD_DENOISER sigmas:SIGMAS solver:COMBO guidance:FLOAT seed:INT batch:INT width:INT height:INT",
        "positive:CONDITIONING negative:CONDITIONING image:IMAGE mask:MASK latent:LATENT vae:VAE noise:NOISE "
        "sampler:SAMPLER",
        "image:IMAGE mask:MASK latent:LATENT trace:VARIFOLD_TRACE report:STRING",
    ),
    "VarifoldTrace": ("trace:VARIFOLD_TRACE layout:COMBO scale:INT", "", "frames:IMAGE"),
    "VarifoldSheet": (
        "images:IMAGE labels:STRING columns:INT scale:INT gap:INT background:COMBO",
        "masks:MASK reference:IMAGE",
        "sheet:IMAGE",
    ),
    "VarifoldStyleTransfer": (
        "content:IMAGE method:COMBO preset:COMBO strength:FLOAT structure:FLOAT keep_colours:BOOLEAN "
        "texture_scale:FLOAT seed:INT",
        "style:IMAGE weight:FLOAT style_2:IMAGE weight_2:FLOAT style_3:IMAGE weight_3:FLOAT style_4:IMAGE "
        "weight_4:FLOAT content_mask:MASK style_mask:MASK denoiser:VARIFOLD_DENOISER positive:CONDITIONING vae:VAE "
        "steps:INT",
        "image:IMAGE",
    ),
    "VarifoldStyleModel": (
        "model:MODEL style:IMAGE vae:VAE strength:FLOAT layers:COMBO start_percent:FLOAT end_percent:FLOAT seed:INT",
        "style_2:IMAGE style_3:IMAGE style_4:IMAGE weight:FLOAT weight_2:FLOAT weight_3:FLOAT weight_4:FLOAT",
        "model:MODEL",
    ),
    "VarifoldPalette": (
        "images:IMAGE style:IMAGE strength:FLOAT method:COMBO keep_lightness:BOOLEAN smooth:FLOAT seed:INT",
        "mask:MASK style_mask:MASK",
        "image:IMAGE",
    ),
    "VarifoldSnapPalette": (
        "images:IMAGE colours:INT palettes:COMBO",
        "masks:MASK palette:IMAGE",
        "image:IMAGE mask:MASK palette:IMAGE",
    ),
    "VarifoldSamplePicture": ("which:COMBO", "", "image:IMAGE mask:MASK"),
    "VarifoldExportDataset": (
        "images:IMAGE folder:STRING labels:STRING captions:STRING masks_are:COMBO formats:STRING splits:STRING "
        "quotas:STRING filters:STRING picture_files:COMBO with_workflow:BOOLEAN licence:STRING author:STRING",
        "masks:MASK boxes:BOUNDING_BOX segs:SEGS",
        "dataset:VARIFOLD_DATASET report:STRING sheet:IMAGE",
    ),
    "VarifoldLoadDataset": (
        "folder:STRING format:COMBO split:COMBO start:INT count:INT",
        "",
        "images:IMAGE masks:MASK boxes:BOUNDING_BOX labels:STRING captions:STRING report:STRING",
    ),
    "VarifoldMeasureDataset": (
        "real:IMAGE neighbours:INT seed:INT",
        "synthetic:IMAGE dataset:VARIFOLD_DATASET trained_on:IMAGE",
        "report:STRING plot:IMAGE nearest:IMAGE",
    ),
    "VarifoldPictures": (
        "source:COMBO folder:STRING size:INT crop:COMBO scaling:COMBO transparency:COMBO colours:INT flip:BOOLEAN "
        "words:COMBO vocabulary:INT held_out:FLOAT seed:INT",
        "images:IMAGE masks:MASK labels:STRING dataset:VARIFOLD_DATASET",
        "pictures:VARIFOLD_PICTURES sheet:IMAGE report:STRING",
    ),
    "VarifoldCompose": (
        "sprites:IMAGE backgrounds:IMAGE labels:STRING count:INT first:INT width:INT height:INT fewest:INT most:INT "
        "smallest:FLOAT largest:FLOAT rotation:FLOAT mirror:BOOLEAN overlap:FLOAT light:FLOAT pixel_art:BOOLEAN "
        "terrains:INT casts:INT seed:INT",
        "sprite_mask:MASK",
        "images:IMAGE masks:MASK boxes:BOUNDING_BOX labels:STRING",
    ),
    "VarifoldLoadGenerator": ("file:COMBO", "", "generator:VARIFOLD_GENERATOR report:STRING"),
    "VarifoldGenerate": (
        "words:STRING seed:INT batch:INT steps:INT guidance:FLOAT",
        "generator:VARIFOLD_GENERATOR denoiser:VARIFOLD_DENOISER",
        "image:IMAGE mask:MASK report:STRING",
    ),
    "VarifoldSweep": (
        "labels:STRING prompts:STRING quota:INT chunk:INT index:INT seed:INT",
        "",
        "prompt:STRING seed:INT batch:INT labels:STRING captions:STRING chunks:INT label:STRING",
    ),
}

# Menus by what they start with: a saved value must stay on its menu, and the first is the default.
MENUS = {
    ("VarifoldCompareModels", "likelihood"): ["bound", "bound and exact", "none"],
    ("VarifoldExplain", "what"): [
        *("loss by noise level", "steps", "words", "nearest pictures"),
        *("walk between seeds", "walk between words", "axes"),
    ],
    ("VarifoldForwardProcess", "process"): ["gaussian noise", "gamma noise", "blur", "pixelation", "masking"],
    ("VarifoldTrainDenoiser", "size"): ["tiny", "small", "medium", "large", "huge"],
    ("VarifoldTrainDenoiser", "prediction"): ["edm", "flow", "v", "eps"],
    ("VarifoldTrainDenoiser", "weighting"): ["none", "learned", "min_snr"],
    ("VarifoldTrainDenoiser", "precision"): ["auto", "float32", "bfloat16", "float16"],
    ("VarifoldTrainAutoencoder", "kind"): ["vae", "plain"],
    ("VarifoldTrainAutoencoder", "size"): ["tiny", "small", "medium", "large", "huge"],
    ("VarifoldTrainAutoencoder", "precision"): ["auto", "float32", "bfloat16", "float16"],
    ("VarifoldTrainGAN", "size"): ["tiny", "small", "medium", "large", "huge"],
    ("VarifoldTrainGAN", "precision"): ["auto", "float32", "bfloat16", "float16"],
    ("VarifoldLoadDenoiser", "file"): ["Varifold pixel art (embedded)"],
    ("VarifoldLoadDenoiser", "precision"): ["auto", "float32", "bfloat16", "float16"],
    ("VarifoldLoadDenoiser", "prediction"): ["auto", "edm", "eps", "v", "x0", "flow"],
    ("VarifoldLoadDenoiser", "autoencoder"): ["the file's own"],
    ("VarifoldLoRA", "file"): ["none"],
    ("VarifoldLoadGenerator", "file"): ["none"],
    ("VarifoldToy", "shape"): ["moons", "rings", "spiral", "mixture"],
    ("VarifoldToy", "space"): ["ve", "flow"],
    ("VarifoldPrompt", "unknown"): ["nearest", "skip", "error"],
    ("VarifoldSchedule", "curve"): [
        *("karras", "exponential", "polyexponential", "linear", "cosine", "simple", "normal", "vp", "drawn"),
        *("sgm_uniform", "ddim_uniform", "beta", "beta_sigmas", "laplace", "linear_quadratic", "sd_turbo"),
        *("align_your_steps", "gits", "optimal_steps", "flux", "flux2", "ltxv", "ideogram4"),
    ],
    ("VarifoldSchedule", "family"): ["usual", "sd1", "sdxl", "svd", "flux", "wan", "chroma"],
    ("VarifoldSchedule", "betas"): ["scaled_linear", "linear"],
    ("VarifoldSolver", "solver"): [
        "dpmpp_2m",
        "ipndm",
        "heun",
        "euler",
        "euler_ancestral",
        "dpmpp_2m_sde",
        "uni_pc",
        "deis",
        "ipndm_v",
        "lms",
        "dpm_2",
        "dpmpp_sde",
        "ddpm",
        "lcm",
    ],
    ("VarifoldSolver", "variant"): ["usual", "midpoint", "heun", "bh1", "bh2"],
    ("VarifoldGuidance", "method"): ["cfg", "rescale", "apg", "cfg_zero_star", "pag", "perp_neg"],
    ("VarifoldTrace", "layout"): ["frames", "strip"],
    ("VarifoldSheet", "background"): ["dark", "light"],
    ("VarifoldStyleTransfer", "method"): ["strokes", "statistics", "attention", "distil"],
    ("VarifoldStyleTransfer", "preset"): ["none", "oil", "watercolour", "sketch", "ink"],
    ("VarifoldStyleModel", "layers"): ["style only", "style and composition"],
    ("VarifoldPalette", "method"): ["optimal transport", "mkl"],
    ("VarifoldSnapPalette", "palettes"): ["each its own", "one for all"],
    ("VarifoldExportDataset", "masks_are"): ["objects", "transparency"],
    ("VarifoldExportDataset", "picture_files"): ["png", "jpeg", "webp"],
    ("VarifoldLoadDataset", "format"): ["auto", "varifold", "imagefolder", "coco", "yolo", "webdataset"],
    ("VarifoldLoadDataset", "split"): ["all", "train", "val", "test"],
    ("VarifoldPictures", "source"): ["folder", "embedded tiles"],
    ("VarifoldPictures", "crop"): ["centre", "random", "pad"],
    ("VarifoldPictures", "scaling"): ["smooth", "pixels"],
    ("VarifoldPictures", "transparency"): ["keep", "on white", "on black"],
    ("VarifoldPictures", "words"): ["auto", "labels", "captions", "none"],
    ("VarifoldSamplePicture", "which"): ["cat", "coffee", "hero (transparent)", "wave", "village"],
}

NODES = pytest.mark.parametrize("node", NODE_CLASS_MAPPINGS.values(), ids=NODE_CLASS_MAPPINGS)


def inputs(node: type, *kinds: str) -> dict[str, tuple]:
    types = node.INPUT_TYPES()
    kinds = kinds or ("required", "optional")
    return {name: declared for kind in kinds for name, declared in types.get(kind, {}).items()}


def shown(node: type, kind: str) -> list[str]:
    return [
        f"{name}:{'COMBO' if isinstance(declared[0], list) else declared[0]}"
        for name, declared in inputs(node, kind).items()
    ]


@pytest.mark.parametrize("name", CONTRACT)
def test_sockets_keep_their_names_types_and_places(name):
    node = NODE_CLASS_MAPPINGS[name]
    required, optional, outputs = (text.split() for text in CONTRACT[name])
    assert shown(node, "required") == required
    assert shown(node, "optional")[: len(optional)] == optional
    given = [f"{name}:{kind}" for name, kind in zip(node.RETURN_NAMES, node.RETURN_TYPES, strict=True)]
    assert given[: len(outputs)] == outputs


def test_the_contract_covers_every_node():
    assert set(CONTRACT) == set(NODE_CLASS_MAPPINGS) == set(NODE_DISPLAY_NAME_MAPPINGS)


@NODES
def test_a_seed_says_whether_it_changes_after_a_run(node):
    """The front end gives a seed that is silent about it one more widget, and values are saved by position."""
    for name, (kind, *options) in inputs(node).items():
        if kind == "INT" and name in ("seed", "noise_seed"):
            assert "control_after_generate" in options[0]


@pytest.mark.parametrize(("name", "key"), MENUS, ids="-".join)
def test_menus_keep_their_first_entry_and_lose_none(name, key):
    menu, kept = inputs(NODE_CLASS_MAPPINGS[name])[key][0], MENUS[name, key]
    assert menu[0] == kept[0]
    assert set(menu) >= set(kept)


def test_the_samplers_menu_is_the_solvers():
    sampler, solver = (inputs(NODE_CLASS_MAPPINGS[name])["solver"] for name in ("VarifoldSampler", "VarifoldSolver"))
    assert sampler[0] == solver[0]
    assert all(f"{name}:" in sampler[1]["tooltip"] for name in sampler[0])


@NODES
def test_the_function_takes_exactly_what_is_declared(node):
    parameters = list(inspect.signature(getattr(node, node.FUNCTION)).parameters.values())[1:]
    assert [parameter.name for parameter in parameters] == list(inputs(node, "required", "optional", "hidden"))
    without_default = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    assert without_default == list(inputs(node, "required"))
    assert set(node.INPUT_TYPES()) <= {"required", "optional", "hidden"}
    if hasattr(node, "IS_CHANGED"):
        taken = inspect.signature(node.IS_CHANGED).parameters.values()
        named = [parameter.name for parameter in taken if parameter.kind is not parameter.VAR_KEYWORD]
        assert set(named) <= set(inputs(node))
        assert len(named) < len(taken) or named == list(inputs(node))


@NODES
def test_every_input_and_output_explains_itself(node):
    for name, (_, *options) in inputs(node).items():
        assert options and options[0].get("tooltip", "").strip(), name
    assert len(node.OUTPUT_TOOLTIPS) == len(node.RETURN_NAMES) == len(node.RETURN_TYPES)
    assert all(tooltip.strip() for tooltip in node.OUTPUT_TOOLTIPS)
    assert node.DESCRIPTION.strip()


@NODES
def test_nodes_are_found_by_name_category_and_alias(node):
    assert NODE_DISPLAY_NAME_MAPPINGS[node.__name__].endswith(" (Varifold)")
    assert node.CATEGORY.split("/")[0] == "Varifold"
    assert len(node.SEARCH_ALIASES) >= 3
    assert all(isinstance(alias, str) and alias == alias.strip().lower() for alias in node.SEARCH_ALIASES)


@NODES
def test_numbers_have_bounds_that_hold_their_default(node):
    for name, (kind, options) in inputs(node).items():
        if kind in ("INT", "FLOAT"):
            assert options["min"] <= options["default"] <= options["max"], name
        if kind in ("STRING", "BOOLEAN"):
            assert "default" in options, name


def test_titles_differ():
    assert len(set(NODE_DISPLAY_NAME_MAPPINGS.values())) == len(NODE_DISPLAY_NAME_MAPPINGS)
