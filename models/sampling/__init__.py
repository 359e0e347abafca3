"""How a denoiser becomes a picture: schedules, solvers, noise and the loop."""
