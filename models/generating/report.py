"""What a generator is, in words for its user."""

from __future__ import annotations

import textwrap

from .generator import Generator

KINDS = {
    "vae": "a variational autoencoder",
    "autoencoder": "an autoencoder, whose latents are taken for Gaussian",
    "gan": "the generator of a GAN",
}


def report(generator: Generator) -> str:
    """Lines on what it is, its words, its licence, and what it was trained on."""
    spec = generator.spec
    channels, height, width = generator.shape
    noise = "×".join(map(str, generator.noise_shape))
    lines = [
        spec.title or "a generator without a title",
        f"net: {KINDS[generator.kind]}, {generator.parameters:,} parameters",
        f"pictures: {width}×{height}, {channels} channels ({spec.channels}), drawn by {noise} numbers",
    ]
    if words := spec.vocabulary[1:]:
        lines.append(f"{len(words)} words:")
        lines += textwrap.wrap(
            ", ".join(words), 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
        )
    lines.append(f"licence: {spec.licence or 'not stated'}")
    lines += textwrap.wrap(f"trained on: {spec.trained_on or 'not stated'}", 100, subsequent_indent="  ")
    return "\n".join(lines)
