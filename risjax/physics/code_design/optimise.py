"""Gradient steps on the phases of the codes, by Adam with a step that decays as a cosine.

The steps start from independent uniform phases; from DFT codes they end at a lower value. The criterion is a function
of new positions at every step, and of the reflection coefficients of the surface: exp(j psi), or those of
`risjax.physics.impairments.coupling` where phase and amplitude are coupled.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Complex, Float, Key

from risjax.config import DesignConfig, PhysicsConfig
from risjax.config.code_design import CRITERIA
from risjax.physics.code_design.criteria import Criterion
from risjax.physics.code_design.prior import DesignPrior, design_prior
from risjax.physics.code_design.quantise import exchange_phases, quantised
from risjax.physics.impairments import coupling
from risjax.registry import implementation_of

CodesOf = Callable[[Float[Array, "L N"]], Complex[Array, "L N"]]
ValueOf = Callable[[Complex[Array, "L N"]], Float[Array, ""]]
"""From reflection coefficients to the value to maximise."""

_LAST_POSITIONS = 2
"""Positions of the exchange of phases over those of a gradient step."""


def criterion_of(settings: DesignConfig) -> Criterion:
    """The criterion that a configuration names."""
    return implementation_of(CRITERIA[settings.criterion])


def gram_of(channel: Complex[Array, "M N"], codes: Complex[Array, "L N"]) -> Complex[Array, "N N"]:
    """(H^H H) o (C^H C) with H scaled to ||H||_F^2 = M, at which the mean power of a field of unit norm is 1 / N."""
    num_antennas = channel.shape[0]
    power = jnp.sum(channel.real**2 + channel.imag**2)
    unit = channel * jnp.sqrt(num_antennas / jnp.where(power > 0, power, 1.0))
    return jnp.matmul(unit.conj().T, unit, precision="highest") * jnp.matmul(codes.conj().T, codes, precision="highest")


def reflection(physics: PhysicsConfig) -> CodesOf:
    """Reflection coefficients of the surface at given phases, with the mean strength of a coupling."""
    setting = physics.impairments.coupling_min_amplitude
    least = sum(setting) / 2 if isinstance(setting, tuple) else setting

    def reflect(phase_rad: Array) -> Array:
        codes = jax.lax.complex(jnp.cos(phase_rad), jnp.sin(phase_rad))
        return codes if least == 1 else codes * coupling(codes, least)

    return reflect


def designed_codes(
    key: Key[Array, ""], physics: PhysicsConfig, channel: Complex[Array, "M N"]
) -> Complex[Array, "L N"]:
    """`design_for_channel` as `risjax.physics.codebook.CodesOfScene`; the codes do not depend on the key."""
    return design_for_channel(channel, physics)


def design_for_channel(channel: Complex[Array, "M N"], physics: PhysicsConfig) -> Complex[Array, "L N"]:
    """Codes of unit modulus for one known channel; batch by vmap.

    Args:
        channel: H as the receiver knows it; its scale does not matter.
        physics: distribution of the sources, and ``codebook`` with bits, seed and ``design``.

    Returns:
        Codes exp(j psi), psi among 2^bits phases; continuous without bits.
    """
    codebook = physics.codebook
    settings, criterion = codebook.design, criterion_of(codebook.design)
    start_key, prior_key, last_key = jax.random.split(jax.random.key(codebook.seed), 3)
    priors = design_prior(prior_key, physics, settings.steps, settings.positions)

    def value_of(codes: Array, prior: DesignPrior) -> Array:
        return criterion(gram_of(channel, codes), prior)

    def advance(state: DesignState, step: Array) -> tuple[DesignState, None]:
        prior = at_step(priors, step)
        return ascend(state, lambda codes: value_of(codes, prior), physics, settings.steps)[0], None

    state, _ = jax.lax.scan(advance, first_state(start_key, physics), jnp.arange(settings.steps))
    last = last_prior(last_key, physics)
    return final_codes(state, lambda codes: value_of(codes, last), physics)


class DesignState(NamedTuple):
    """State of the gradient steps.

    Attributes:
        phase_rad: phases of the codes, [L, N].
        moments: state of Adam.
    """

    phase_rad: Float[Array, "L N"]
    moments: optax.OptState


def first_state(key: Key[Array, ""], physics: PhysicsConfig) -> DesignState:
    """Return independent uniform phases."""
    shape = (physics.codebook.num_snapshots, physics.array.num_elements)
    phase_rad = jax.random.uniform(key, shape, maxval=2 * math.pi)
    return DesignState(phase_rad, _adam(physics, 1).init(phase_rad))


def _adam(physics: PhysicsConfig, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(physics.codebook.design.step_rad, steps))


def ascend(
    state: DesignState, value_of: ValueOf, physics: PhysicsConfig, steps: int
) -> tuple[DesignState, Float[Array, ""]]:
    """One of ``steps`` gradient steps; return the next state and the value before the step.

    Args:
        state: of the step before.
        value_of: criterion of reflection coefficients.
        physics: surface, and ``codebook.design`` with the size of the first step.
        steps: number of steps of the whole design.
    """
    reflect = reflection(physics)
    loss, slope = jax.value_and_grad(lambda phase_rad: -value_of(reflect(phase_rad)))(state.phase_rad)
    update, moments = _adam(physics, steps).update(slope, state.moments)
    return DesignState(jnp.asarray(optax.apply_updates(state.phase_rad, update)), moments), -loss


def last_prior(key: Key[Array, ""], physics: PhysicsConfig) -> DesignPrior:
    """The fixed prior of `final_codes`, with more positions than that of a gradient step."""
    positions = _LAST_POSITIONS * physics.codebook.design.positions
    return at_step(design_prior(key, physics, 1, positions), jnp.asarray(0))


def final_codes(state: DesignState, value_of: ValueOf, physics: PhysicsConfig) -> Complex[Array, "L N"]:
    """Round the phases to the bits of the codebook and exchange single ones; without bits the codes themselves."""
    bits = physics.codebook.phase_bits
    if bits is None:
        return jnp.exp(1j * state.phase_rad)
    allowed = jnp.arange(2**bits) * (2 * math.pi / 2**bits)
    chosen = exchange_phases(quantised(state.phase_rad, bits), reflection(physics)(allowed), value_of)
    return jnp.exp(1j * allowed)[chosen]


def at_step(priors: DesignPrior, step: Array) -> DesignPrior:
    """The prior of one step."""
    return priors._replace(columns=priors.columns[step], range_m=priors.range_m[step])
