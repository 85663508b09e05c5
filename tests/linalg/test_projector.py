"""The signal projector of a dense matrix, and its soft variant."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.linalg import signal_projector, soft_signal_projector
from risjax.linalg.hermitian import TAU
from tests.linalg.reference import (
    FINITE_DIFFERENCE_TOLERANCE,
    TOLERANCE,
    assert_transforms_agree,
    directional_derivative,
    directional_difference,
    random_array,
    with_eigenvalues,
)

SIZE, CUT = 8, 3

SPECTRA = {
    "healthy": [20.0, 10.0, 6.0, 0.4, 0.3, 0.2, 0.1, 0.05],
    "equal signals": [12.0, 12.0, 12.0, 0.4, 0.3, 0.2, 0.1, 0.0],
    "equal noise": [20.0, 10.0, 6.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    "both equal": [12.0, 12.0, 12.0, 0.5, 0.5, 0.5, 0.5, 0.5],
    "no noise": [20.0, 10.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0],
}
ACROSS = {
    "identity": [1.0] * 8,
    "zero": [0.0] * 8,
    "rank below the cut": [30.0, 10.0, 0, 0, 0, 0, 0, 0],
    "gap of tau": [30.0, 10.0, 1.0, 1.0 - TAU, 0.3, 0.2, 0.1, 0.0],
    "near-far 60 dB": [39.9, 3.99e-5, 3.99e-5, 0, 0, 0, 0, 0],
    "indefinite": [1.0, -1.0, 2.0, -2.0, 0, 0, 0, 0],
}


def distance(matrix, target, num_sources=CUT):
    difference = signal_projector(matrix, num_sources) - target
    return jnp.sum(jnp.real(difference) ** 2 + jnp.imag(difference) ** 2)


_distance = jax.jit(distance)
_value_and_gradient = jax.jit(jax.value_and_grad(distance))


def target(dtype):
    basis = np.linalg.qr(random_array(5, (SIZE, CUT), dtype))[0]
    return jnp.asarray(basis @ basis.conj().T)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_transforms_agree_for_an_open_gap_across_the_cut(dtype):
    batch = np.stack([with_eigenvalues(values, 0, dtype) for values in SPECTRA.values()])
    goal = target(dtype)
    assert_transforms_agree(lambda matrix: distance(matrix, goal), batch, 3 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_gradients_are_finite_and_bounded_for_a_closed_gap_across_the_cut(dtype):
    matrices = np.stack([with_eigenvalues(values, 2, dtype) for values in ACROSS.values()])
    if dtype == "complex64":
        matrices = np.concatenate([matrices, np.eye(SIZE, dtype=dtype)[None], np.zeros_like(matrices[:1])])
    goal = target(dtype)
    gradients = jax.jit(jax.vmap(jax.grad(lambda matrix: distance(matrix, goal))))(jnp.asarray(matrices))
    assert jnp.isfinite(gradients).all()
    # |dP| <= |dR| / 2 tau for each of the two triangles, and the loss has slope at most 2 |P - target|.
    mean = np.abs(np.linalg.eigvalsh(matrices)).mean(-1)
    broadening = TAU * np.where(mean > 0, mean, 1)
    assert (np.abs(gradients).max((1, 2)) < 2 * np.sqrt(2 * CUT) / broadening).all()


@pytest.mark.parametrize("name", SPECTRA)
def test_gradient_is_the_finite_difference(name):
    matrix, goal = with_eigenvalues(SPECTRA[name]), target("complex128")
    direction = random_array(1, (SIZE, SIZE))
    direction = direction + direction.conj().T
    expected = directional_difference(lambda m: _distance(m, goal), matrix, direction)
    derivative = directional_derivative(lambda m: _distance(m, goal), matrix, direction)
    assert derivative == pytest.approx(expected, rel=FINITE_DIFFERENCE_TOLERANCE)


def test_the_bias_across_the_cut_is_that_of_the_docstring():
    """At trace N."""
    direction = random_array(1, (SIZE, SIZE))
    for gap in (1e-1, 1e-2, 1e-3, TAU):
        values = np.diag([3.2 + gap, 2.0, 1.0, 1.0 - gap, 0.2, 0.2, 0.2, 0.2]).astype(complex)
        derivative = jax.jvp(lambda m: signal_projector(m, CUT), (jnp.asarray(values),), (jnp.asarray(direction),))[1]
        exact = (direction[2, 3] + direction[3, 2].conj()) / 2 / gap
        assert abs(derivative[2, 3]) / abs(exact) == pytest.approx(gap**2 / (gap**2 + TAU**2), rel=1e-6)


@pytest.mark.parametrize("values", [SPECTRA["healthy"], ACROSS["gap of tau"], [5, -1, 2, -2, 1, 0.5, 0, 0]])
@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1e6, 1e20])
def test_projector_and_gradient_obey_the_scaling_law(values, scale):
    """P(a R) = P(R) and dP/d(a R) = dP/dR / a, also where the broadening decides."""
    matrix, goal = jnp.asarray(with_eigenvalues(values)), target("complex128")
    value, gradient = _value_and_gradient(matrix, goal)
    scaled_value, scaled_gradient = _value_and_gradient(scale * matrix, goal)
    np.testing.assert_allclose(scaled_value, value, rtol=1e-9)
    np.testing.assert_allclose(scale * scaled_gradient, gradient, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize(("cut", "bound"), [(3, 3), (3, 5), *((cut, None) for cut in (0, 1, 3, 4, 5, 7, 8))])
def test_a_static_bound_of_the_sources_does_not_change_the_result(cut, bound):
    matrix, goal, count = jnp.asarray(with_eigenvalues(SPECTRA["healthy"])), target("complex128"), jnp.asarray(cut)

    def loss(m):
        return jnp.real(jnp.vdot(goal, signal_projector(m, count, max_k=bound)))

    value, gradient = jax.jit(jax.value_and_grad(loss))(matrix)
    expected = jax.value_and_grad(lambda m: jnp.real(jnp.vdot(goal, signal_projector(m, cut))))(matrix)
    np.testing.assert_allclose(value, expected[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gradient, expected[1], atol=1e-11)


def test_number_of_sources_is_traced_and_differs_from_scene_to_scene():
    matrices = jnp.asarray(np.stack([with_eigenvalues(SPECTRA["healthy"], seed) for seed in range(4)]))
    counts = jnp.array([0, 1, 5, 8])
    projectors = jax.jit(jax.vmap(signal_projector))(matrices, counts)
    np.testing.assert_allclose(jnp.trace(projectors, axis1=1, axis2=2).real, counts, atol=1e-10)
    np.testing.assert_allclose(projectors[3], np.eye(SIZE), atol=1e-10)
    np.testing.assert_allclose(projectors @ projectors, projectors, atol=1e-10)


def test_a_soft_projector_with_probability_one_is_the_hard_one():
    matrix, goal = jnp.asarray(with_eigenvalues(SPECTRA["both equal"])), target("complex128")
    certain = jnp.zeros(6).at[CUT].set(1.0)

    def soft(m):
        return jnp.sum(jnp.abs(soft_signal_projector(m, certain) - goal) ** 2)

    np.testing.assert_allclose(soft_signal_projector(matrix, certain), signal_projector(matrix, CUT), atol=1e-12)
    np.testing.assert_allclose(jax.jit(jax.grad(soft))(matrix), jax.grad(_distance)(matrix, goal), atol=1e-10)


def test_soft_projector_is_the_mean_of_the_hard_ones_and_differentiable_in_the_probabilities():
    matrix = jnp.asarray(with_eigenvalues(SPECTRA["healthy"]))
    probability = jnp.array([0.1, 0.2, 0.3, 0.4])
    hard = jnp.stack([signal_projector(matrix, count) for count in range(4)])
    expected = jnp.sum(probability[:, None, None] * hard, axis=0)
    np.testing.assert_allclose(soft_signal_projector(matrix, probability), expected, atol=1e-12)
    goal = target("complex128")
    gradient = jax.grad(lambda p: jnp.real(jnp.vdot(goal, soft_signal_projector(matrix, p))))(probability)
    np.testing.assert_allclose(gradient, jnp.real(jnp.sum(goal.conj()[None] * hard, axis=(1, 2))), atol=1e-12)
    loss = jax.jit(lambda m: jnp.real(jnp.vdot(goal, soft_signal_projector(m, probability))))
    direction = random_array(3, (SIZE, SIZE))
    expected = directional_difference(loss, np.asarray(matrix), direction)
    assert directional_derivative(loss, matrix, direction) == pytest.approx(expected, rel=FINITE_DIFFERENCE_TOLERANCE)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_refused_with_the_correction(dtype):
    with pytest.raises(ValueError, match=r"Upcast the whole prediction and label pytrees"):
        signal_projector(jnp.eye(4, dtype=dtype), 1)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="6 entries"):
        soft_signal_projector(jnp.eye(4), jnp.ones(6))
    with pytest.raises(ValueError, match=r"got shape \(4, 3\), expected square"):
        inspect.unwrap(signal_projector)(jnp.ones((4, 3)), 1)  # without the tests' own check of shapes
    with pytest.raises(ValueError, match="k = 5, expected 0 to 4"):
        signal_projector(jnp.eye(4), 5)
    with pytest.raises(ValueError, match="which='last', expected 'largest' or 'smallest'"):
        inspect.unwrap(signal_projector)(jnp.eye(4), 1, which="last")


def test_the_smallest_eigenvalues_and_the_others_span_the_whole_space():
    matrix = jnp.asarray(with_eigenvalues([3.0, 2.0, 1.0, -0.5, -4.0]))
    smallest = signal_projector(matrix, 2, which="smallest")
    np.testing.assert_allclose(smallest, jnp.eye(5) - signal_projector(matrix, 3), atol=1e-12)
    values = jnp.linalg.eigvalsh(matrix @ smallest + smallest @ matrix)
    np.testing.assert_allclose(values[:2], [-8.0, -1.0], atol=1e-12)


def test_leading_axes_of_matrix_and_count_broadcast():
    matrices = jnp.asarray(np.stack([with_eigenvalues(SPECTRA["healthy"], seed) for seed in range(2)]))
    projectors = signal_projector(matrices[:, None], jnp.array([1, 3, 6]))
    assert projectors.shape == (2, 3, SIZE, SIZE)
    np.testing.assert_allclose(projectors[1, 2], signal_projector(matrices[1], 6), atol=1e-12)
    soft = soft_signal_projector(matrices, jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(soft, projectors[:, 0], atol=1e-12)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("spacing", [1e-1, 1e-3, 1e-6, 1e-7, 0.0])
def test_spacing_inside_the_signal_block_does_not_change_the_accuracy(spacing, dtype):
    """Relative error of the gradient at most 1e-5 in complex64, at any spacing."""
    values = [10.0, 10.0 * (1 - spacing), 10.0 * (1 - 2 * spacing), 1.0, 1.0, 1.0, 1.0, 1.0]
    matrix = with_eigenvalues(values)
    exact = _exact_gradient(matrix, np.asarray(target("complex128")))
    gradient = jax.grad(_distance)(jnp.asarray(matrix.astype(dtype)), target("complex128").astype(dtype))
    error = np.linalg.norm(gradient - exact) / np.linalg.norm(exact)
    # In complex128 the bias of the broadening remains: its square over that of a gap of at least 7.
    assert error <= {"complex64": 1e-5, "complex128": 2 * (TAU * np.mean(values) / 7) ** 2}[dtype]


def _exact_gradient(matrix, goal):
    """jax's gradient (its conjugate convention) of ||P - goal||^2, from P's resolvent formula in NumPy.

    With a clear cut, dP = sum over i in S, j in N of u_i (u_i^H dR u_j) u_j^H / (l_i - l_j) + h.c.
    """
    values, vectors = np.linalg.eigh(matrix)
    signal, noise = vectors[:, -CUT:], vectors[:, :-CUT]
    difference = signal @ signal.conj().T - goal
    inner = (signal.conj().T @ difference @ noise) / (values[-CUT:, None] - values[None, :-CUT])
    half = signal @ inner @ noise.conj().T
    return 2 * (half + half.conj().T).conj()


def exact_gradient(unitary, values, goal, cut):
    """Gradient of ||P - goal||^2 by the resolvent's formula, in jax's convention."""
    signal, noise = unitary[:, :cut], unitary[:, cut:]
    difference = signal @ signal.conj().T - goal
    half = (
        signal @ ((signal.conj().T @ difference @ noise) / (values[:cut, None] - values[None, cut:])) @ noise.conj().T
    )
    return 2 * (half + half.conj().T).conj()


@pytest.mark.slow
def test_gradient_accuracy_at_full_size():
    """N = 144, rank 5, complex64: 1e-5 at any spacing inside and any loading; 1e-3 to a relative gap of 1e-3 across."""
    size, cut = 144, 5
    unitary, basis = (np.linalg.qr(random_array(seed, (size, size)))[0] for seed in (0, 1))
    goal = basis[:, :cut] @ basis[:, :cut].conj().T
    gradient = jax.jit(jax.grad(lambda m: distance(m, jnp.asarray(goal, jnp.complex64), cut)))

    def error(values):
        matrix = (unitary * values) @ unitary.conj().T
        got = np.asarray(gradient(jnp.asarray(((matrix + matrix.conj().T) / 2).astype(np.complex64))))
        assert np.isfinite(got).all()
        exact = exact_gradient(unitary, values, goal, cut)
        return np.linalg.norm((got + got.conj().T) / 2 - exact) / np.linalg.norm(exact)

    for loading in (1e-4, 1e-2, 1.0):
        for spacing in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 0.0):
            signals = size / cut * (1 - spacing * np.arange(cut))
            assert error(np.r_[signals, np.zeros(size - cut)] + loading) <= 1e-5
    for gap in (1.0, 1e-1, 1e-2, 1e-3):
        assert error(np.r_[32.0, 30.0, 27.0, 24.0, 20.0, 20.0 * (1 - gap), np.full(size - cut - 1, 0.01)]) <= 1e-3
    with np.errstate(divide="ignore", invalid="ignore"):
        error(np.r_[32.0, 30.0, 27.0, 24.0, 20.0, 20.0, np.full(size - cut - 1, 0.01)])  # finite for no gap too
