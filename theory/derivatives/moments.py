"""The moments through which training sees its data, at one ratio or as a smooth function of Mixup's alpha."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float, Int

from theory.checks import check_alpha
from theory.linalg import on_device


class Moments(eqx.Module):
    """What training sees of its data.

    Attributes:
        second_moment: C, the mean of phi phiᵀ.
        force: b, the mean of phi y, by target.
        clean_force: the mean of phi y* of the clean labels, or None where they are not known.
        noise_force: by what a unit of label noise on original i changes the force, one column an original: Phiᵀ / m
            for plain rows, Hᵀ / n for expected Mixup with the smoother H; None where no such noise is asked for.
    """

    second_moment: Float[Array, "features features"]
    force: Float[Array, "features targets"]
    clean_force: Float[Array, "features targets"] | None = None
    noise_force: Float[Array, "features samples"] | None = None

    @staticmethod
    def of_rows(
        features: Float[Array, "rows features"],
        labels: Float[Array, "rows targets"],
        clean_labels: Float[Array, "rows targets"] | None = None,
    ) -> "Moments":
        """Those of a table of rows, each row an original of its own.

        >>> Moments.of_rows(jnp.eye(2), jnp.asarray([[2.0], [4.0]])).force.tolist()
        [[1.0], [2.0]]
        """
        mean = features.T / len(features)
        return Moments(mean @ features, mean @ labels, None if clean_labels is None else mean @ clean_labels, mean)


class MomentsOverRatios(eqx.Module):
    """Moments at fixed ratios, the nodes of `beta_weights`, to be averaged over lam ~ Beta(alpha, alpha).

    Attributes:
        second_moment: C at each node.
        force: b at each node.
        clean_force: its part by the clean labels, or None.
        noise_force: its change by label noise, or None.
    """

    second_moment: Float[Array, "nodes features features"]
    force: Float[Array, "nodes features targets"]
    clean_force: Float[Array, "nodes features targets"] | None = None
    noise_force: Float[Array, "nodes features samples"] | None = None

    @staticmethod
    def stacked(moments: Sequence[Moments]) -> "MomentsOverRatios":
        """From the moments at each node, in the order of the nodes."""
        stack = jax.tree.map(lambda *each: jnp.stack(each), *moments)
        return MomentsOverRatios(stack.second_moment, stack.force, stack.clean_force, stack.noise_force)

    def at(self, alpha: float | Float[Array, ""]) -> Moments:
        """The mean over lam, differentiable in alpha.

        >>> each = [Moments(lam * jnp.eye(1), jnp.full((1, 1), lam**2)) for lam in beta_weights(1.0, 3)[0]]
        >>> float(MomentsOverRatios.stacked(each).at(1.0).force[0, 0].round(6))  # E lam^2
        0.333333
        """
        _, weights = beta_weights(alpha, len(self.second_moment))

        def mean(stack: Array) -> Array:
            return jnp.tensordot(weights.astype(stack.dtype), stack, 1)

        at_nodes = (self.second_moment, self.force, self.clean_force, self.noise_force)
        return Moments(*jax.tree.map(mean, at_nodes))


def beta_weights(
    alpha: float | Float[Array, ""], num_nodes: int
) -> tuple[Float[np.ndarray, "nodes"], Float[Array, "nodes"]]:
    """Nodes on [0, 1] that do not depend on alpha, and weights of Beta(alpha, alpha) there, smooth in alpha.

    The n nodes x_q, on [-1, 1], and weights v_q are those of Gauss-Lobatto, which has nodes at 0 and 1, where small
    alphas have their masses. With the Legendre moments of the law,

        w_q = v_q / 2 sum_{2k < n} (4k + 1) M_k P_2k(x_q),        (4k + 1 becomes 2k where 2k = n - 1)
        M_k = E P_2k = prod_{j<=k} (alpha - j) (1/2 - j) / ((alpha + j - 1/2) j),

    they are exact for polynomials of degree n - 1 at every alpha, half of what `noise.beta_quadrature` reaches with
    nodes that move with alpha. They are probabilities, so that a mean of covariances is a covariance. Above alpha = 2
    one may come out negative; it is set to 0, the rest is scaled, and exactness is lost by as much: with 24 nodes by at
    most 3e-6 up to alpha = 12, and by 9e-5 at 20, where the law is narrower than their distances.

    Raises:
        ValueError: an alpha out of the range of `theory.checks.ALPHAS`, or less than two nodes.

    >>> nodes, weights = beta_weights(0.5, 4)
    >>> float((weights @ nodes**3).round(12))  # E lam^3 of the arcsine law
    0.3125
    """
    alpha = check_alpha("alpha", alpha)
    if num_nodes < 2:
        raise ValueError(f"num_nodes: must be at least 2, for the two ends, got {num_nodes}")
    inner = scipy.special.roots_jacobi(num_nodes - 2, 1, 1)[0] if num_nodes > 2 else np.empty(0)
    nodes = np.concatenate([[-1.0], inner, [1.0]])
    polynomials = np.polynomial.legendre.legvander(nodes, num_nodes - 1)
    plain = 2 / (num_nodes * (num_nodes - 1) * polynomials[:, -1] ** 2)
    orders = np.arange(0, num_nodes, 2)
    inverse_norms = np.where(orders < num_nodes - 1, 2 * orders + 1, num_nodes - 1)
    j = np.arange(1, len(orders))
    from_moments = on_device(plain[:, None] / 2 * polynomials[:, ::2] * inverse_norms[None, :])
    return (1 + nodes) / 2, _positive_weights(on_device(alpha), from_moments, on_device(j))


@jax.jit
def _positive_weights(
    alpha: Float[Array, ""], from_moments: Float[Array, "nodes moments"], j: Int[Array, "ratios"]
) -> Float[Array, "nodes"]:
    ratios = (alpha - j) * (0.5 - j) / ((alpha + j - 0.5) * j)
    exact = from_moments @ jnp.concatenate([jnp.ones(1, ratios.dtype), jnp.cumprod(ratios)])
    weights = jnp.where(exact > 0, exact, 0)
    return weights / jnp.sum(weights)
