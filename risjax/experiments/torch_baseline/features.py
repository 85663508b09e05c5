"""The network's inputs in PyTorch: `risjax.model.features` and `risjax.physics.images`, batched.

Full precision whatever autocast says, without gradients. Scenes are dictionaries: ``snapshots`` [B, L, M],
``channel`` [B, M, N], ``codes`` [B, L, N], complex64 or complex128.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from risjax.config import ArrayConfig, ModelConfig, PhysicsConfig
from risjax.config.model import ENCODERS
from risjax.experiments.torch_baseline.places import torch_place
from risjax.model.features import middle_elements
from risjax.physics.field_of_view import view_factor
from risjax.physics.images import NOISE_TO_SIGNAL_RANGE
from risjax.physics.snapshot_images import WHITE_RATIOS_DB
from risjax.registry import find

Scenes = dict[str, Tensor]


class TorchNetworkParts(NamedTuple):
    """Counterpart of `risjax.model.encoder.NetworkParts`.

    Attributes:
        make_inputs: maps (scenes, model, physics) to the features of a batch and the factor of its sample covariances,
            [B, N, 1] or, of snapshots' images, [B, N, L].
        encoder: class of a module, built of (array, model), from features to what ``head`` reads. Names and shapes of
            its parameters are those of the encoder of risjax (`risjax.experiments.torch_baseline.weights`).
        head: class of a module, built of (array, model), to the real and imaginary parts of F, [B, N, rank] each.
    """

    make_inputs: Callable[[Scenes, ModelConfig, PhysicsConfig], tuple[dict[str, Tensor], Tensor]]
    encoder: Callable[[ArrayConfig, ModelConfig], nn.Module]
    head: Callable[[ArrayConfig, ModelConfig], nn.Module]


def parts_of(config: ModelConfig) -> TorchNetworkParts:
    """Inputs, encoder and head of ``model.encoder`` in PyTorch.

    Raises:
        ValueError: the encoder has no counterpart.
    """
    return find(torch_place(ENCODERS[config.encoder]))


@torch.no_grad()
def make_inputs(scenes: Scenes, config: ModelConfig, physics: PhysicsConfig) -> tuple[dict[str, Tensor], Tensor]:
    """Features of a batch, and the factor of its sample covariances, [B, N, 1] or, of snapshots' images, [B, N, L]."""
    with torch.autocast(scenes["snapshots"].device.type, enabled=False):
        return parts_of(config).make_inputs(scenes, config, physics)


def snapshot_inputs(scenes: Scenes, config: ModelConfig, physics: PhysicsConfig) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs of the encoder ``snapshots``."""
    images, noise_to_signal = _images(scenes, (1.0,))
    turn = _middle_phase(images[:, 0], physics.array)
    turned = scenes | {"snapshots": scenes["snapshots"] * turn[:, None, None]}
    return _snapshot_features(turned, noise_to_signal), images[:, 0, :, None]


def image_inputs(scenes: Scenes, config: ModelConfig, physics: PhysicsConfig) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs of the encoder ``backprojection``."""
    images, noise_to_signal = _images(scenes, (1.0, *config.extra_regularisation))
    power = _squared(images).mean(-1)
    positive = torch.where(power > 0, power, 1.0)
    unit = images * positive.rsqrt()[..., None] * _middle_phase(images[:, 0], physics.array)[:, None, None]
    elements = torch.cat([unit.real, unit.imag], dim=1).mT
    context = _context(noise_to_signal, positive)
    return {"elements": elements.contiguous(), "context": context}, images[:, 0, :, None]


def _context(noise_to_signal: Tensor, power: Tensor) -> Tensor:
    return torch.stack([torch.log10(noise_to_signal), 0.5 * torch.log10(power[:, 0] / power[:, -1])], dim=-1)


def component_inputs(scenes: Scenes, config: ModelConfig, physics: PhysicsConfig) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs of the encoder ``minimum_norm``: principal components of the covariances of the snapshots' images."""
    fields, noise_to_signal = _snapshot_images(scenes, (1.0, *config.extra_regularisation), physics)
    power = _squared(fields).mean((-2, -1))
    positive = torch.where(power > 0, power, 1.0)
    components = _principal(fields * positive.rsqrt()[..., None, None], config.rank, physics.array)
    energy = _squared(components).mean((-2, -1))
    components = components * torch.where(energy > 0, energy, 1.0).rsqrt()[..., None, None]
    columns = components.flatten(1, 2)
    elements = torch.cat([columns.real, columns.imag], dim=1).mT
    context = _context(noise_to_signal, positive)
    return {"elements": elements.contiguous(), "context": context}, fields[:, 0].mT / fields.shape[2] ** 0.5


def _principal(images: Tensor, count: int, array: ArrayConfig) -> Tensor:
    """The strongest eigenvectors of sum_l x_l x_l^H, each times the root of its eigenvalue, [B, A, count, N]."""
    mixtures = torch.linalg.eigh(images.conj() @ images.mT).eigenvectors
    strongest = mixtures.flip(-1)[..., :count]
    components = strongest.mT @ images
    phase = _middle_phase(components, array)
    return nn.functional.pad(components * phase[..., None], (0, 0, 0, count - strongest.shape[-1]))


def _middle_phase(fields: Tensor, array: ArrayConfig) -> Tensor:
    """The factor of modulus 1 that makes a field's mean over the middle elements real and positive, [...]."""
    mean = fields @ torch.as_tensor(middle_elements(array), device=fields.device).to(fields.dtype)
    modulus = _squared(mean).sqrt()
    return torch.where(modulus > 0, mean.conj() / torch.where(modulus > 0, modulus, 1.0), 1.0)


def _snapshot_images(scenes: Scenes, multiples: tuple[float, ...], physics: PhysicsConfig) -> tuple[Tensor, Tensor]:
    """Images of the snapshots, [B, A, L, N], and the noise-to-signal ratio of a white field, [B]."""
    snapshots, channel, codes = scenes["snapshots"], scenes["channel"], scenes["codes"]
    prior = torch.as_tensor(view_factor(physics), device=snapshots.device).to(snapshots.dtype)
    through = (channel[:, None] * codes[:, :, None, :]) @ prior
    grams = through @ through.mH
    level = grams.diagonal(dim1=-2, dim2=-1).real.mean((-2, -1))
    values, vectors = torch.linalg.eigh(channel @ channel.mH)
    values = values.clamp_min(0.0)
    mean_value = values.mean(-1, keepdim=True)
    energies = _squared(snapshots @ vectors.conj()).mean(1)
    noise_to_signal = _white_ratio(values / torch.where(mean_value > 0, mean_value, 1.0), energies)
    weights = torch.tensor(multiples, dtype=level.dtype, device=level.device)
    ridges = weights * (noise_to_signal * torch.where(level > 0, level, 1.0))[:, None]
    solved = _solve(grams.flatten(0, 1), snapshots.flatten(0, 1), ridges.repeat_interleave(snapshots.shape[1], dim=0))
    solved = solved.unflatten(0, snapshots.shape[:2]).transpose(1, 2)
    within = (solved[..., None, :] @ through.conj()[:, None])[..., 0, :]
    return within @ prior.mT, noise_to_signal


def _white_ratio(values: Tensor, energies: Tensor) -> Tensor:
    ratios = 10 ** (torch.tensor(WHITE_RATIOS_DB, dtype=values.dtype, device=values.device) / 10)
    means = values[:, None, :] + ratios[:, None]
    total = (energies[:, None, :] / means).sum(-1)
    misfit = means.log().sum(-1) + values.shape[-1] * torch.where(total > 0, total, 1.0).log()
    return ratios[misfit.argmin(-1)]


def _snapshot_features(scenes: Scenes, noise_to_signal: Tensor) -> dict[str, Tensor]:
    codes = scenes["codes"]
    return {
        "received": _unit(scenes["snapshots"]),
        "passed": _unit(codes @ scenes["channel"].mT),
        "codes": torch.cat([codes.real, codes.imag], dim=-1),
        "context": torch.log10(noise_to_signal)[:, None],
    }


def _unit(array: Tensor) -> Tensor:
    power = _squared(array).mean((-2, -1))
    rms = torch.where(power > 0, power, 1.0).sqrt()
    return torch.view_as_real(array / rms[:, None, None])


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

    ``cholesky_ex`` does not check for failure: it shows as NaN, without a synchronisation on GPUs.
    """
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    lower = torch.linalg.cholesky_ex(gram[:, None] + ridges[..., None, None] * identity).L
    return torch.cholesky_solve(vector[:, None, :, None].expand(-1, ridges.shape[1], -1, -1), lower)[..., 0]


def _squared(array: Tensor) -> Tensor:
    return array.real.square() + array.imag.square()
