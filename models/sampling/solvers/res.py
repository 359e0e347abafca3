"""RES: the exponential multistep solver of order 2 (Zhang et al. 2023, arXiv:2308.02157), four ways.

Each step goes to a lower level in ancestral ones, and noise back up from there.
"""

from __future__ import annotations

import math

from .ancestral import landing, lifted
from .phi import h_phi_1, h_phi_2


def res_multistep(D, x, steps):
    """In λ = −log σ, in VE and in flow space."""
    return _res_multistep(D, x, steps, None, None, None, eta=0.0, s_noise=0.0)


def res_multistep_ancestral(D, x, steps, space, W, *, eta: float = 1.0, s_noise: float = 1.0):
    return _res_multistep(D, x, steps, space, W, None, eta, s_noise)


def res_multistep_cfg_pp(D, x, steps, U):
    """CFG++ (Chung et al. 2024, arXiv:2406.08070): along the unprompted outputs, from x + (guided − unprompted)."""
    return _res_multistep(D, x, steps, None, None, U, eta=0.0, s_noise=0.0)


def res_multistep_ancestral_cfg_pp(D, x, steps, space, W, U, *, eta: float = 1.0, s_noise: float = 1.0):
    return _res_multistep(D, x, steps, space, W, U, eta, s_noise)


def _res_multistep(D, x, steps, space, W, U, eta, s_noise):
    previous, lag = None, math.inf
    for s, t in steps:
        x0 = D(x, s)
        if t == 0:
            return x0
        own = U() if U else x0
        land = landing(s, t, space, eta)
        if previous is None or land.down == 0:
            x = x0 + (land.down / s) * (x - own)
        else:
            h = math.log(s / land.down)
            x = (land.down / s) * (x + x0 - own) + h_phi_1(h) * own
            x = x + (h_phi_2(h) * h / lag) * (own - previous)
        x = lifted(x, s, t, land, s_noise, W)
        previous, lag = own, math.log(s / land.down) if land.down else math.inf
    return x
