"""Settings of JAX, from its environment variables, under which no program of this package can run."""

import os


class JaxSettingsError(RuntimeError):
    """JAX is set to devices that are absent or to a dtype promotion that its libraries do not support."""


def check_jax_settings() -> None:
    """Refuses settings that fail later, in the middle of a library.

    Raises:
        JaxSettingsError: strict dtype promotion, or a platform of ``JAX_PLATFORMS`` that has no device here.
    """
    import jax

    if jax.config.jax_numpy_dtype_promotion == "strict":  # pyright: ignore[reportAttributeAccessIssue]
        raise JaxSettingsError(
            "JAX_NUMPY_DTYPE_PROMOTION is strict, expected standard: flax and optax do not run under strict promotion; "
            "unset it"
        )
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # a plugin without a driver fails an assertion
        reason = str(error).splitlines()[0] if str(error) else "its driver was not found"
        raise JaxSettingsError(
            f"JAX_PLATFORMS is {os.environ.get('JAX_PLATFORMS')!r}, and JAX finds no such device ({reason}); "
            "set it to cpu, or unset it"
        ) from error


def are_set() -> bool:
    """Return True if the environment has a setting that `check_jax_settings` examines."""
    return bool(os.environ.get("JAX_PLATFORMS") or os.environ.get("JAX_NUMPY_DTYPE_PROMOTION"))
