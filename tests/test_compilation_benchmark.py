"""Counts and ratios of benchmarks/compilation.py."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from benchmarks import compilation
from benchmarks.compilation_probe import Counter


def test_a_program_is_counted_once() -> None:
    counter = Counter()
    double = jax.jit(lambda x: 2 * jnp.sin(x))
    values = jax.device_put(jax.numpy.ones(7))
    before = counter.programs
    double(values)
    double(values)
    assert counter.programs == before + 1
    assert counter.seconds > 0


def test_instructions_are_counted_in_xlas_own_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiled = jax.jit(lambda x: jnp.sin(x) + 1).lower(jnp.ones(3))
    program = compiled.compiler_ir("hlo")
    assert program is not None
    text = program.as_hlo_text()

    def probe(root: Path, case: str, folder: Path, environment: dict[str, str]) -> None:
        dumped = folder / "dumped"
        assert f"--xla_dump_to={dumped}" in environment["XLA_FLAGS"]
        dumped.mkdir()
        for name in ("module_0001.jit_f.before_optimizations.txt", "module_0001.jit_f.cpu_after_optimizations.txt"):
            (dumped / name).write_text(text)

    monkeypatch.setattr(compilation, "probe", probe)
    # parameter, sine, constant, broadcast, add
    assert text.count(" = ") == 5
    assert compilation.instructions(tmp_path, "scene", tmp_path) == {"before": 5, "after": 5}


def entry(seconds: float, read: int) -> dict[str, float]:
    return dict(zip(compilation.FIGURES, (seconds, seconds, 10, seconds / 2, read), strict=True))


def test_medians_and_ratios() -> None:
    rounds = [{"cold": {"load": entry(seconds, 0)}, "warm": {"load": entry(1, 10)}} for seconds in (2, 4, 9)]
    this = compilation.medians(rounds)
    assert this["cold"]["load"] == entry(4, 0)
    other = {"cold": {"load": entry(8, 0)}, "warm": {"load": entry(1, 5)}}
    found = compilation.ratios(other, this)
    assert found["cold"]["load"] == {"seconds": 2, "processor_seconds": 2, "programs": 1, "compile_seconds": 2}
    assert found["warm"]["load"]["read_from_cache"] == 0.5


def test_a_cold_process_has_no_cache_and_a_warm_one_its_own(tmp_path: Path) -> None:
    assert "JAX_COMPILATION_CACHE_DIR" not in compilation.without_cache()
    assert compilation.without_cache()["JAX_ENABLE_COMPILATION_CACHE"] == "false"
    assert compilation.with_cache(tmp_path)["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path)
