"""Steering vectors of the true sources and of the directions around them in PyTorch: `risjax.loss.make_peaks`, batched.

In the dtype of the positions, without gradients. Only the nominal surface, and elements of one amplitude.
"""

import numpy as np
import torch
from torch import Tensor

from risjax.config import ArrayConfig, PhysicsConfig
from risjax.loss.peak_contrast import DIRECTIONS, RINGS, VISIBLE
from risjax.physics.array import element_positions

_EDGE = 1.0 - 1e-6
"""As in `risjax.spectral.grid`."""


def check_surface(physics: PhysicsConfig) -> None:
    """Refuses surfaces whose steering vectors are not made here.

    Raises:
        ValueError: elements of several amplitudes, or a surface that differs from scene to scene and is known.
    """
    array = physics.array
    if array.amplitude != "uniform" or array.pattern_exponent > 0 or physics.impairments.is_geometry_known:
        raise ValueError(
            "the PyTorch baseline computes loss.contrast on the nominal surface, elements of one amplitude, only, "
            f"got array.amplitude = {array.amplitude}, array.pattern_exponent = {array.pattern_exponent} and "
            f"impairments.known = {list(physics.impairments.known)}; set loss.contrast.weight = 0"
        )


@torch.no_grad()
def make_peaks(array: ArrayConfig, position: Tensor, active: Tensor) -> dict[str, Tensor]:
    """Steering vectors at the sources and around them, and which of these count.

    Args:
        array: the surface.
        position: (azimuth [rad], elevation [rad], range [m]) of the true sources, [B, K, 3].
        active: which slots hold one, [B, K].
    """
    ahead = torch.tensor([0.0, 0.0, 1.0], dtype=position.dtype, device=position.device)
    position = torch.where(active[..., None], position, ahead)
    azimuth, elevation, distance = position.unbind(-1)
    u, v = azimuth.sin() * elevation.cos(), elevation.sin()
    beam = array.wavelength_m / (np.ptp(element_positions(array), axis=0) + array.spacing_m)
    angle = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    ring = torch.as_tensor(np.concatenate([radius * circle for radius in RINGS]) * beam).to(position)
    around_u, around_v = u[..., None] + ring[:, 0], v[..., None] + ring[:, 1]

    apart_u = (around_u[..., None] - u[:, None, None, :]) / beam[0]
    apart_v = (around_v[..., None] - v[:, None, None, :]) / beam[1]
    slots = torch.arange(position.shape[1], device=position.device)
    others = active[:, None, :] & (slots[:, None] != slots)
    is_elsewhere = ((apart_u.square() + apart_v.square() < 1.0) & others[:, :, None, :]).any(-1)
    is_visible = around_u.square() + around_v.square() < VISIBLE
    # as (azimuth, elevation) and back, which clips what is not visible
    v_inside = around_v.clamp(-_EDGE, _EDGE)
    cosine = (1.0 - v_inside.square()).sqrt()
    u_inside = (around_u / cosine).clamp(-_EDGE, _EDGE) * cosine
    return {
        "source": steering(array, u, v, distance),
        "around": steering(array, u_inside, v_inside, distance[..., None].expand_as(around_u)),
        "counted": active[..., None] & is_visible & ~is_elsewhere,
    }


def steering(array: ArrayConfig, u: Tensor, v: Tensor, range_m: Tensor) -> Tensor:
    """Unit-norm steering vectors of directions (u, v) at a range, [..., N]; the equations of `risjax.physics.array`."""
    plane = torch.as_tensor(element_positions(array)).to(u)
    range_m = range_m[..., None]
    projection = u[..., None] * plane[:, 0] + v[..., None] * plane[:, 1]
    squared = plane.square().sum(-1)
    match array.wavefront:
        case "spherical":
            away = (range_m.square() - 2 * range_m * projection + squared).sqrt()
            path = (2 * range_m * projection - squared) / (range_m + away)
        case "fresnel":
            path = projection - (squared - projection.square()) / (2 * range_m)
        case "paraxial":
            path = projection - squared / (2 * range_m)
    phase = (2 * np.pi / array.wavelength_m) * path
    return torch.complex(phase.cos(), phase.sin()) / plane.shape[0] ** 0.5
