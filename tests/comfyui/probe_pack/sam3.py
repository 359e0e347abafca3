"""SAM 3.1 with ComfyUI's own nets and its tokenizer, small and random."""

import comfy.model_base
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.supported_models_base
import comfy.text_encoders.sam3_clip as sam3_clip
import torch
from comfy import sd1_clip

from .shaped import CPU, randomised

WIDTH, PATCH, SIDE = 64, 56, 18  # its 1008 pixels in patches four times as large as SAM 3's
NET = {"image_model": "SAM31", "embed_dim": WIDTH, "d_model": WIDTH, "depth": 1, "mlp_ratio": 1.0, "num_queries": 12}
NET |= {"patch_size": PATCH, "window_size": SIDE // 2}
WORDS = {
    **sam3_clip.SAM3_CLIP_CONFIG,
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
}


def told_apart(detector):
    """Lets queries and pixels differ as a trained net's do: about half of the queries find, and half of a picture."""
    decoder, scoring, masks = detector.transformer.decoder, detector.dot_prod_scoring, detector.segmentation_head
    for embedding in (decoder.query_embed, decoder.reference_points):
        embedding.weight.data /= embedding.weight.std()
    for layer in decoder.layers:
        for last in (layer.self_attn.out_proj, layer.cross_attn.out_proj, layer.ca_text.out_proj, layer.linear2):
            last.weight.data *= 0.2
    scoring.hs_proj.weight.data *= 40
    scoring.prompt_proj.weight.data *= 0.02
    colours = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    heads = {scoring.hs_proj: (0, 1), masks.instance_seg_head: (0, 2, 3)}
    said = {}
    hooks = [head.register_forward_hook(lambda head, _, out: said.update({head: out})) for head in heads]
    detector(torch.nn.functional.interpolate(colours, (1008, 1008)), text_embeddings=torch.ones(1, 4, WIDTH))
    for head, axes in heads.items():
        head.bias.data -= said[head].mean(axes)
    for hook in hooks:
        hook.remove()


class SmallText(sd1_clip.SDClipModel):
    def __init__(self, device="cpu", dtype=None, model_options=None):
        masks = {"return_attention_masks": True, "enable_attention_masks": True, "return_projected_pooled": False}
        special = {"start": 49406, "end": 49407, "pad": 0}
        where = {"device": device, "dtype": dtype, "model_options": model_options or {}}
        super().__init__(
            max_length=32, layer="last", textmodel_json_config=WORDS, special_tokens=special, **masks, **where
        )


class SmallTextWrapper(sam3_clip.SAM3ClipModelWrapper):
    def __init__(self, device="cpu", dtype=None, model_options=None):
        where = {"device": device, "dtype": dtype, "model_options": model_options or {}}
        sd1_clip.SD1ClipModel.__init__(self, clip_name="l", clip_model=SmallText, name="sam3_clip", **where)


class ProbeSAM3:
    """All that CheckpointLoaderSimple gives of a file of SAM 3.1."""

    FUNCTION = "make"
    CATEGORY = "probe"
    RETURN_TYPES = ("MODEL", "CLIP", "VAE")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    @torch.inference_mode(False)
    @torch.no_grad()
    def make(self):
        config = comfy.supported_models.SAM31(NET)
        config.set_inference_dtype(torch.float32, None)
        model = comfy.model_base.SAM3(config)
        net = randomised(model.diffusion_model, 3)
        net.tracker.interactive_sam_prompt_encoder.image_embedding_size = (SIDE, SIDE)
        told_apart(net.detector)
        target = comfy.supported_models_base.ClipTarget(sam3_clip.SAM3TokenizerWrapper, SmallTextWrapper)
        clip = comfy.sd.CLIP(target, parameters=1)
        randomised(clip.cond_stage_model, 4)
        return (comfy.model_patcher.ModelPatcher(model, load_device=CPU, offload_device=CPU), clip, None)


NODES = (ProbeSAM3,)
