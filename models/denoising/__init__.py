"""What a denoiser is: spaces, preconditioning, guidance."""
