"""The network's inputs in PyTorch: `risjax.model.features` and `risjax.physics.images`, batched.

Full precision whatever autocast says, without gradients. Scenes are dictionaries: ``snapshots`` [B, L, M],
``channel`` [B, M, N], ``codes`` [B, L, N], complex64 or complex128.
"""

import torch
from torch import Tensor

from risjax.config import ModelConfig
from risjax.physics.images import NOISE_TO_SIGNAL_RANGE

Scenes = dict[str, Tensor]


@torch.no_grad()
def make_inputs(scenes: Scenes, config: ModelConfig) -> tuple[dict[str, Tensor], Tensor]:
    """Features of a batch, and the factor x_hat of its sample covariances, [B, N, 1]."""
    with torch.autocast(scenes["snapshots"].device.type, enabled=False):
        if config.encoder == "snapshots":
            return _snapshot_features(scenes), _images(scenes, (1.0,))[0][:, 0, :, None]
        images, noise_to_signal = _images(scenes, (1.0, *config.extra_regularisation))
        power = _squared(images).mean(-1)
        positive = torch.where(power > 0, power, 1.0)
        unit = images * positive.rsqrt()[..., None]
        elements = torch.cat([unit.real, unit.imag], dim=1).mT
        shrink = 0.5 * torch.log10(positive[:, 0] / positive[:, -1])
        context = torch.stack([torch.log10(noise_to_signal), shrink], dim=-1)
        return {"elements": elements.contiguous(), "context": context}, images[:, 0, :, None]


def _snapshot_features(scenes: Scenes) -> dict[str, Tensor]:
    codes = scenes["codes"]
    received, received_rms = _unit(scenes["snapshots"])
    passed, passed_rms = _unit(codes @ scenes["channel"].mT)
    return {
        "received": received,
        "passed": passed,
        "codes": torch.cat([codes.real, codes.imag], dim=-1),
        "context": torch.log10(torch.stack([received_rms, passed_rms], dim=-1)),
    }


def _unit(array: Tensor) -> tuple[Tensor, Tensor]:
    power = _squared(array).mean((-2, -1))
    rms = torch.where(power > 0, power, 1.0).sqrt()
    return torch.view_as_real(array / rms[:, None, None]), rms


def _images(scenes: Scenes, multiples: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """x_hat of each regularisation, [B, A, N], and the noise-to-signal estimate, [B]."""
    snapshots, channel, codes = scenes["snapshots"], scenes["channel"], scenes["codes"]
    _, num_snapshots, num_antennas = snapshots.shape
    num_elements, size = codes.shape[-1], num_snapshots * num_antennas
    gram = (channel.mH @ channel) * (codes.mH @ codes)
    matched = (codes.conj() * (snapshots @ channel.conj())).sum(1)

    least_ridge = 1e-6 * gram.diagonal(dim1=-2, dim2=-1).real.mean(-1)
    field = _solve(gram, matched, least_ridge[:, None])[:, 0]
    residual = snapshots - (codes * field[:, None]) @ channel.mT
    noise_energy = _squared(residual).sum((-2, -1)) / (size - num_elements) * size
    energy = _squared(snapshots).sum((-2, -1))
    low, high = NOISE_TO_SIGNAL_RANGE
    signal_energy = torch.maximum(energy - noise_energy, noise_energy / high)
    noise_to_signal = (noise_energy / torch.where(signal_energy > 0, signal_energy, 1.0)).clamp(low, high)
    trace = (_squared(channel).sum(1) * _squared(codes).sum(1)).sum(-1)
    weights = torch.tensor(multiples, dtype=energy.dtype, device=energy.device)
    return _solve(gram, matched, weights * (noise_to_signal * trace / size)[:, None]), noise_to_signal


def _solve(gram: Tensor, vector: Tensor, ridges: Tensor) -> Tensor:
    """(gram + ridge I)^-1 vector for each ridge, [B, A, N], through Cholesky factors.

    ``cholesky_ex`` asks nobody whether it went well: a failure shows as NaN, without a synchronisation on GPUs.
    """
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    lower = torch.linalg.cholesky_ex(gram[:, None] + ridges[..., None, None] * identity).L
    return torch.cholesky_solve(vector[:, None, :, None].expand(-1, ridges.shape[1], -1, -1), lower)[..., 0]


def _squared(array: Tensor) -> Tensor:
    return array.real.square() + array.imag.square()
