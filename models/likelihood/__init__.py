"""How likely a denoiser finds pictures, in bits per number: the density of its ODE, and the variational bound."""
