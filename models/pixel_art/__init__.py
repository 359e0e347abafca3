"""How the embedded denoiser is made: its pictures, its training, and the figures of its card."""
