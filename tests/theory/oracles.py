"""Other routes to the weights of training, none of which knows an eigenvalue: exponentials, powers, loops, solvers."""

import mpmath
import numpy as np
import scipy.integrate
import scipy.linalg

import rfm
import theory

DIGITS = 60


def moments(problem: rfm.Problem) -> tuple[np.ndarray, np.ndarray]:
    """The covariance Phiᵀ Phi / m and the force Phiᵀ y / m."""
    phi, y = np.asarray(problem.features), np.asarray(problem.labels)
    return phi.T @ phi / len(phi), phi.T @ y / len(phi)


def expm_weights(problem: rfm.Problem, time: float, ridge: float = 0.0, start: np.ndarray | None = None) -> np.ndarray:
    """Gradient flow theta' = b - (C + ridge) theta, as the exponential of one augmented matrix."""
    covariance, force = moments(problem)
    p, k = force.shape
    generator = np.block([[-covariance - ridge * np.eye(p), force], [np.zeros((k, p + k))]])
    flow = scipy.linalg.expm(time * generator)
    return flow[:p, p:] + flow[:p, :p] @ (np.zeros((p, k)) if start is None else start)


def ode_weights(problem: rfm.Problem, time: float) -> np.ndarray:
    """The same flow, integrated step by step."""
    covariance, force = moments(problem)

    def velocity(_: float, theta: np.ndarray) -> np.ndarray:
        return (force - covariance @ theta.reshape(force.shape)).ravel()

    solution = scipy.integrate.solve_ivp(
        velocity, (0, time), np.zeros(force.size), method="DOP853", rtol=1e-13, atol=1e-15
    )
    return solution.y[:, -1].reshape(force.shape)


def loop_weights(
    problem: rfm.Problem, step_size: float, num_steps: int, ridge: float = 0.0, start: np.ndarray | None = None
) -> np.ndarray:
    """Gradient descent, as one would first write it."""
    phi, y = np.asarray(problem.features), np.asarray(problem.labels)
    theta = np.zeros((phi.shape[1], y.shape[1])) if start is None else np.array(start)
    for _ in range(num_steps):
        theta = theta - step_size * (phi.T @ (phi @ theta - y) / len(phi) + ridge * theta)
    return theta


def risk(problem: rfm.Problem, theta: np.ndarray) -> np.ndarray:
    """The mean squared error over the test set, by target."""
    test = problem.population
    assert isinstance(test, theory.TestSet)
    return np.mean((np.asarray(test.targets) - np.asarray(test.features) @ theta) ** 2, axis=0)


def train_loss(problem: rfm.Problem, theta: np.ndarray) -> np.ndarray:
    """|Phi theta - y|^2 / (2 m), by target."""
    residual = np.asarray(problem.features) @ theta - np.asarray(problem.labels)
    return np.sum(residual**2, axis=0) / (2 * len(residual))


def on_clean_labels(problem: rfm.Problem) -> rfm.Problem:
    """The same problem without label noise."""
    return rfm.Problem(problem.features, problem.clean_labels, population=problem.population)


def exact_risk(problem: rfm.Problem, time: float) -> float:
    """The risk of gradient flow, summed over targets, in `DIGITS` digits from the same float64 inputs."""
    with mpmath.workdps(DIGITS):
        covariance, force = _exact_moments(problem)
        return _exact_risk(problem, _exponential(_augmented(-covariance, force), mpmath.mpf(time)))


def exact_risk_of_descent(problem: rfm.Problem, step_size: float, num_steps: int) -> float:
    """The risk after so many steps of gradient descent: a matrix power, in `DIGITS` digits."""
    with mpmath.workdps(DIGITS):
        covariance, force = _exact_moments(problem)
        eta = mpmath.mpf(step_size)
        step = mpmath.eye(force.rows + force.cols) + _augmented(-covariance, force) * eta
        return _exact_risk(problem, power(step, num_steps))


def matrix(array: np.ndarray) -> mpmath.matrix:
    """The very numbers of an array of floats."""
    return mpmath.matrix(np.asarray(array, float).tolist())


def _exact_moments(problem: rfm.Problem) -> tuple[mpmath.matrix, mpmath.matrix]:
    phi, y = matrix(problem.features), matrix(problem.labels)
    return phi.T * phi / phi.rows, phi.T * y / phi.rows


def _augmented(covariance: mpmath.matrix, force: mpmath.matrix) -> mpmath.matrix:
    size = force.rows + force.cols
    generator = mpmath.zeros(size)
    generator[: force.rows, : force.rows] = covariance
    generator[: force.rows, force.rows :] = force
    return generator


def _exponential(generator: mpmath.matrix, time: mpmath.mpf) -> mpmath.matrix:
    """Taylor's series of a short time, squared until the time is reached."""
    norm = mpmath.mnorm(generator, "inf") * time
    squarings = max(0, int(mpmath.ceil(mpmath.log(norm, 2))) + 10) if norm > 0 else 0
    small = generator * (time / mpmath.mpf(2) ** squarings)
    total = term = mpmath.eye(generator.rows)
    for order in range(1, 22):  # 2^-10 to the power 22 is 1e-66
        term = term * small / order
        total = total + term
    for _ in range(squarings):
        total = total * total
    return total


def power(base: mpmath.matrix, exponent: int) -> mpmath.matrix:
    """By squaring, in the digits of the working precision."""
    result = mpmath.eye(base.rows)
    for bit in bin(exponent)[2:]:
        result = result * result
        if bit == "1":
            result = result * base
    return result


def _exact_risk(problem: rfm.Problem, flow: mpmath.matrix) -> float:
    test = problem.population
    assert isinstance(test, theory.TestSet)
    p = test.features.shape[1]
    error = matrix(test.targets) - matrix(test.features) * flow[:p, p:]
    return float(mpmath.fsum(entry**2 for entry in error) / error.rows)
