"""Canaries: each private name that risjax uses still exists and does what `risjax._compat` assumes."""

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optuna
import pytest

import risjax
from risjax._compat import jax as jax_compat
from risjax._compat import optuna as optuna_compat

PACKAGE = Path(risjax.__file__).parent
PRIVATE_ATTRIBUTES = {"_storage", "_study_id", "_trial_id", "_axinfo"}


def private_uses(path: Path) -> list[str]:
    """Lines that import a private module of another package, patch an object, or read a known private attribute."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        parts = [part for name in [module, *names] for part in name.split(".")]
        is_foreign = not (module or names[0]).startswith("risjax") if names else False
        is_private = is_foreign and any(part.startswith("_") and not part.startswith("__") for part in parts)
        is_patch = "mock" in parts and is_foreign
        is_attribute = isinstance(node, ast.Attribute) and node.attr in PRIVATE_ATTRIBUTES
        if isinstance(node, ast.stmt | ast.expr) and (is_private or is_patch or is_attribute):
            found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    return found


def test_private_names_of_other_packages_are_used_in_compat_alone():
    found = [use for path in sorted(PACKAGE.rglob("*.py")) for use in private_uses(path)]
    outside = [use for use in found if not use.startswith("_compat/")]
    assert not outside, f"move these uses of private names to risjax/_compat/: {outside}"
    assert len(found) > len(outside), "the search found none of the uses that are known"


def test_chex_waits_for_the_functions_in_its_list():
    from chex._src import asserts_chexify, asserts_internal

    waits = getattr(getattr(asserts_internal, "CHEXIFY_STORAGE", None), "wait_fns", None)
    assert isinstance(waits, list), "chex moved CHEXIFY_STORAGE.wait_fns: see risjax/_compat/chex.py"
    calls = inspect.getsource(asserts_chexify.chexify)
    assert "checkify.checkify(" in calls, "chex.chexify no longer calls checkify.checkify: see risjax/_compat/chex.py"


def test_a_process_ends_without_a_warning_of_chex():
    code = (
        "import jax, jax.numpy as jnp; from risjax.checks import check_finite, chexified\n"
        "f = chexified(jax.jit(lambda x: check_finite(x, name='x') or 2 * x)); f(jnp.ones(3))"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "not inspected" not in done.stderr, "chex warns at exit again: see risjax/_compat/chex.py"


def test_orbax_compares_directories_in_the_function_that_is_left_out():
    from orbax.checkpoint.experimental.v1._src.saving import execution

    from risjax._compat.orbax import WAITING, without_other_processes

    original = getattr(execution, WAITING, None)
    assert callable(original), f"orbax has no {WAITING} any more: see risjax/_compat/orbax.py"
    with without_other_processes(0):
        assert getattr(execution, WAITING) is not original
    assert getattr(execution, WAITING) is original


def test_the_state_of_a_process_that_joined_nothing():
    state = jax_compat.coordination_state()
    known = {name: getattr(state, name, "missing") for name in ("process_id", "num_processes", "client")}
    assert known == {"process_id": 0, "num_processes": 1, "client": None}, "see coordination_state in _compat/jax.py"


@pytest.mark.parametrize("reverse", [False, True])
def test_operands_of_a_scan(reverse: bool):
    def program(constant, rows):
        def body(carry, row):
            return (carry[0] + 1, carry[1] * constant + row[0]), (row[1], carry[1])

        return jax.lax.scan(body, (0, jnp.zeros(2)), (rows, rows[:, 0]), reverse=reverse)

    (equation,) = (
        equation
        for equation in jax.make_jaxpr(program)(jnp.ones(2), jnp.ones((5, 2))).eqns
        if equation.primitive.name == "scan"
    )
    scan = jax_compat.scan_operands(equation)
    assert scan[:2] == (1, 2), "a scan's operands are ordered in another way: see risjax/_compat/jax.py"
    assert scan[3:] == (5, reverse)


def test_operands_of_a_while_loop():
    def program(limit, step):
        return jax.lax.while_loop(
            lambda state: state[0] < limit, lambda state: (state[0] + step, 2 * state[1]), (0.0, step)
        )

    (equation,) = jax.make_jaxpr(program)(3.0, 1.0).eqns
    loop = jax_compat.while_operands(equation)
    assert loop[:2] == (1, 1), "a while loop's operands are ordered in another way: see risjax/_compat/jax.py"
    assert loop.condition.out_avals[0].dtype == bool


def test_a_trial_of_another_process_can_be_described_and_its_storage_closed():
    study = optuna.create_study(storage="sqlite://")
    trial = study.ask()
    frozen = study.get_trials()[trial.number]
    optuna_compat.set_trial_attribute(study, frozen, "reason", "died")
    assert study.get_trials()[0].user_attrs == {"reason": "died"}
    assert optuna_compat.trial_id(trial) == optuna_compat.trial_id(frozen)
    assert [t.number for t in optuna_compat.all_trials(study)] == [0]
    optuna_compat.close_storage(optuna_compat.storage_of(study))


class OneBracket(optuna_compat.BracketPruner):
    def seed_of(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> int | None:
        self.asked = [*getattr(self, "asked", []), trial.number]
        return 3


def test_hyperband_queries_the_bracket_of_a_trial():
    pruner = OneBracket(min_resource=1, max_resource=9, reduction_factor=3)
    study = optuna.create_study(pruner=pruner)
    trial = study.ask()
    trial.report(1.0, 1)
    trial.should_prune()
    assert pruner.asked == [0] * len(pruner.asked), "see BracketPruner in risjax/_compat/optuna.py"
    assert pruner.asked, "Hyperband no longer calls _get_bracket_id: see risjax/_compat/optuna.py"
    brackets = {np.random.default_rng(seed).choice(3) for seed in range(20)}
    assert len(brackets) == 3


def test_the_metaclass_of_models_for_type_checkers_is_the_real_one():
    from pydantic._internal import _model_construction

    from risjax._compat.pydantic import FrozenModel

    metaclass = getattr(_model_construction, "ModelMetaclass", None)
    assert metaclass is FrozenModel, "pydantic moved its metaclass: see risjax/_compat/pydantic.py"


def test_grid_lines_of_axes_in_three_dimensions():
    import matplotlib.pyplot as plt

    from risjax._compat.matplotlib import style_grid

    figure = plt.figure()
    axes = figure.add_subplot(projection="3d")
    style_grid(axes.xaxis, color="red", linewidth=0.7)
    figure.canvas.draw()
    drawn = axes.xaxis.gridlines.get_edgecolor()  # pyright: ignore[reportAttributeAccessIssue]  (of 3-D axes alone)
    plt.close(figure)
    assert tuple(drawn[0][:3]) == (1.0, 0.0, 0.0), "Matplotlib reads another setting: see risjax/_compat/matplotlib.py"
