"""Dtype promotion of mixed-precision expressions in JAX and PyTorch: prints the Markdown table of docs/why-nan.md.

python benchmarks/promotion.py
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import jax
import jax.numpy as jnp

try:
    import torch
except ImportError:
    torch = None

PAIRS = [("float32", "float16"), ("complex64", "float16"), ("float32", "bfloat16"), ("float16", "bfloat16")]


def outcome(function, *operands):
    try:
        return str(function(*operands).dtype).removeprefix("torch.")
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        return f"raises {type(error).__name__}"


def in_jax(function, *dtypes):
    return outcome(function, *(jnp.ones((2, 2), dtype) for dtype in dtypes))


def in_torch(function, *dtypes):
    if torch is None:
        return "not installed"
    return outcome(function, *(torch.ones((2, 2), dtype=getattr(torch, dtype)) for dtype in dtypes))


def rows():
    for left, right in PAIRS:
        yield f"{left} * {right}", in_jax(lambda a, b: a * b, left, right), in_torch(lambda a, b: a * b, left, right)
        yield f"{left} @ {right}", in_jax(lambda a, b: a @ b, left, right), in_torch(lambda a, b: a @ b, left, right)
    for half in ("float16", "bfloat16"):
        yield f"norm({half})", in_jax(jnp.linalg.norm, half), in_torch(lambda a: torch.linalg.norm(a), half)
        yield f"1j * {half}", in_jax(lambda a: 1j * a, half), in_torch(lambda a: 1j * a, half)
        yield (
            f"complex({half}, {half})",
            in_jax(jax.lax.complex, half, half),
            in_torch(torch and torch.complex, half, half),
        )
        for name in ("eigh", "cholesky", "inv", "svd"):
            yield (
                f"{name}({half})",
                in_jax(lambda a, n=name: jnp.asarray(jax.tree.leaves(getattr(jnp.linalg, n)(a))[-1]), half),
                in_torch(
                    lambda a, n=name: (lambda r: r if hasattr(r, "dtype") else r[-1])(getattr(torch.linalg, n)(a)), half
                ),
            )


def main():
    print(f"| expression | JAX {jax.__version__} | PyTorch {torch and torch.__version__} |\n|---|---|---|")
    for expression, jax_dtype, torch_dtype in rows():
        print(f"| `{expression}` | {jax_dtype} | {torch_dtype} |")


if __name__ == "__main__":
    main()
