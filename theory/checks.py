"""Checks at the door: each names the argument, what it was, and what to pass instead.

Under ``jit``, ``grad`` and ``vmap`` there are no values to look at. Shapes and types are checked all the same, and a
number out of its range (a ridge, a step size, a variance, a ratio) raises when the compiled program runs, by
`equinox.error_if`: a RuntimeError that says what the ValueError outside says. With ``EQX_ON_ERROR=nan`` in the
environment it becomes NaN instead, and the program need not call back into Python. Two things are looked at outside
only: whether an array is finite (inside, what is made of one that is not is not either), and whether a population was
made by the same feature map.
"""

import contextlib
import functools
import inspect
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

Clock = Shaped[Array, "times"] | np.ndarray | Sequence[float | int]
"""Times, or numbers of steps."""


def is_traced(*arrays: object) -> bool:
    """True if any of the arrays is a tracer, whose values cannot be looked at."""
    return any(isinstance(array, jax.core.Tracer) for array in arrays)


def is_on_host(array: Array | np.ndarray) -> bool:
    """Whether its values lie in the memory of this computer."""
    if isinstance(array, np.ndarray):
        return True
    return not is_traced(array) and all(device.platform == "cpu" for device in array.devices())


def check_shape(name: str, array: Array, *, ndim: int, rows: int | None = None, columns: int | None = None) -> None:
    """Raises ValueError unless the array has that many axes, rows and columns, and none of them is empty."""
    wanted = [rows if rows is not None else "any", columns if columns is not None else "any"][:ndim]
    fits = array.ndim == ndim and all(w in ("any", got) for w, got in zip(wanted, array.shape, strict=True))
    if not fits or 0 in array.shape:
        expected = "(" + ", ".join(map(str, wanted)) + ("," if ndim == 1 else "") + ")"
        raise ValueError(f"{name}: has shape {array.shape}; pass an array of shape {expected}, none of them 0")


def check_finite(name: str, array: Array, *, degree: int = 1) -> Array:
    """Returns the array; raises ValueError if it holds a NaN or an infinity, or if squares overflow or vanish.

    The root mean square may lie within the fourth root of what floating point reaches, 1e-77 to 1e77 in double
    precision, 2e-10 to 4e9 in single: weights are labels over features, and their squares must be numbers too. It is
    looked at once, for its sum of squares; again only if that is suspect. Of a traced array nothing is: what is not
    finite in it is not finite in what is made of it.

    Args:
        name: of the argument.
        array: of any shape.
        degree: 2 for moments and times, which are products of two values or one over them.
    """
    if is_traced(array):
        return array
    whole = array.dtype in (jnp.float32, jnp.float64)
    wide = array if whole else array.astype(jnp.float32)  # of half precision, squares overflow at once
    reach = float(jnp.finfo(wide.dtype).max) ** (degree / 4)
    if not 1 / reach**2 <= _sum_of_squares(wide) / max(wide.size, 1) <= reach**2:
        _check_values(name, np.asarray(wide), reach, degree)
    return array


def _sum_of_squares(a: Array | np.ndarray) -> float:
    """|a|^2, in one pass over the array, where it lies."""
    if isinstance(a, jax.Array) and not is_on_host(a):
        return float(jnp.vdot(a, a))
    flat = np.asarray(a).ravel(order="K")  # in the order of the memory, so that nothing is copied
    return float(np.vdot(flat, flat))


def _check_values(name: str, there: np.ndarray, reach: float, degree: int) -> None:
    """The same, value by value."""
    bad = ~np.isfinite(there)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        remedy = "drop or impute those rows" if degree == 1 else "rescale what they are made of"
        raise ValueError(
            f"{name}: {int(bad.sum())} of {there.size} values are not finite, the first ({there[where]}) at index "
            f"{where}; {remedy}"
        )
    largest = float(np.max(np.abs(there), initial=0))
    size = largest * float(np.sqrt(np.mean((there / largest) ** 2))) if largest > 0 else 1.0
    if not 1 / reach <= size <= reach:
        raise ValueError(
            f"{name}: values of size {size:.3g} are too {'large' if size > 1 else 'small'} to be squared in "
            f"{there.dtype}; rescale them to between {1 / reach:.0e} and {reach:.0e}, best to about 1"
        )


Number = TypeVar("Number", bound=float | Array)


def check_not_negative(name: str, value: Number) -> Number:
    """Returns the value; raises ValueError unless it is a finite number that is not negative."""
    return check_within(name, value, lambda x: (x >= 0) & (x < np.inf), "must be a finite number that is not negative")


def check_positive(name: str, value: Number) -> Number:
    """Returns the value; raises ValueError unless it is a finite number above zero."""
    return check_within(name, value, lambda x: (x > 0) & (x < np.inf), "must be a positive number")


def check_share(name: str, value: Number) -> Number:
    """Returns the value; raises ValueError unless it is a number in [0, 1]."""
    return check_within(name, value, lambda x: (x >= 0) & (x <= 1), "must lie in [0, 1]")


def check_within(name: str, value: Number, fits: Callable[[Any], Any], wanted: str) -> Number:
    """Returns the value; raises ValueError unless it is a number that fits, and says what is wanted.

    Where it is traced the compiled program raises, if it uses what is returned; except in `trusted`.
    """
    if is_traced(value):
        return value if _TRUSTED.get() else eqx.error_if(value, ~fits(value), f"{name}: {wanted}, and is traced")
    if not (is_number(value) and fits(np.asarray(value))):
        raise ValueError(f"{name}: {wanted}, got {described(value)}")
    return value


_TRUSTED: ContextVar[bool] = ContextVar("trusted", default=False)


@contextlib.contextmanager
def trusted() -> Iterator[None]:
    """What is traced in it was checked before, or is right by its making; a program that checks is not kept on disk."""
    token = _TRUSTED.set(True)
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def is_number(value: object) -> bool:
    """Whether it is one real number."""
    there = np.asarray(value)  # numpy: a jax array would be traced in a jit
    return there.ndim == 0 and there.dtype.kind in "iuf"


def described(value: object) -> str:
    """What a value is, in few words.

    >>> described("flow"), described(0), described(np.ones((2, 3))), described([1, 2])
    ("'flow'", '0', 'an array of shape (2, 3)', 'a list')
    """
    if is_traced(value):
        return "a traced value"
    if value is None or isinstance(value, str | int | float | complex | np.generic):
        return str(value) if isinstance(value, np.generic) else repr(value)
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return f"an array of {value.size} keys" if value.ndim else "a key"
    if isinstance(value, jax.Array | np.ndarray):
        return f"an array of shape {value.shape}" if value.ndim else str(value)
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"


def check_count(name: str, value: float, *, least: int = 1) -> None:
    """Raises ValueError unless the value is a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name}: must be a whole number of at least {least}, got {value!r}")


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raises ValueError unless the value is a known name; the message lists them."""
    if not isinstance(value, str) or value not in set(known):
        raise ValueError(f"{name}: {described(value)} is not known; pass one of {', '.join(sorted(known))}")


def check_type(name: str, value: object, kinds: type | tuple[type, ...], instead: str) -> None:
    """Raises TypeError unless the value is of one of those kinds; says what to pass instead."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name}: pass {instead}, got {described(value)}")


Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


def untraced(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Decorates what looks at values: to choose a factorisation, to refine a minimum, to count steps.

    It then raises TypeError inside of ``jit``, or for an argument that is traced by ``grad`` or ``vmap``.
    """
    names = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def outside(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        check_untraced(**dict(zip(names, args, strict=False)), **kwargs)
        return function(*args, **kwargs)

    return outside


def check_untraced(**arguments: object) -> None:
    """Raises TypeError for the first argument that is traced, and inside of ``jit`` if none is."""
    for name, value in arguments.items():
        if is_traced(*jax.tree.leaves(value, is_leaf=_is_iterator)):
            raise TypeError(f"{name}: is traced by jit, grad or vmap, but its values are looked at; {OUTSIDE}")
    if is_traced(jnp.zeros(())):  # inside of jit whatever is made is traced, constants too
        raise TypeError(f"jit: traces whatever is made inside of it, but values are looked at; {OUTSIDE}")


def _is_iterator(value: object) -> bool:
    """What is gone once it has been looked at, such as a generator, and is no tree."""
    return isinstance(value, Iterator)


OUTSIDE = "call this outside of them (theory.decompose, theory.risk and theory.derivatives work inside)"


def check_real(name: str, values: object) -> None:
    """Raises TypeError unless the array holds real numbers: complex ones, truth values, text and dates are refused."""
    dtype = values.dtype if hasattr(values, "dtype") else np.asarray(values).dtype
    is_duration = jnp.issubdtype(dtype, np.timedelta64)  # which numpy counts among the whole numbers
    if not is_duration and (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)):
        return
    if jnp.issubdtype(dtype, jnp.complexfloating):
        remedy = "pass real ones, such as real and imaginary parts side by side"
    elif jnp.issubdtype(dtype, jnp.bool_):
        remedy = "pass numbers (values.astype(float)), or whole numbers where classes are meant (values.astype(int))"
    else:
        remedy = "pass an array of numbers"
    raise TypeError(f"{name}: holds values of type {dtype}; {remedy}")


def check_same_rows(name: str, array: Shaped[Array, "..."] | np.ndarray, of: str, num_rows: int) -> None:
    """Raises ValueError unless there is one row of the array for each of the other; JAX would repeat the last one."""
    if array.ndim == 0 or array.shape[0] != num_rows:
        found = array.shape[0] if array.ndim else "no rows"
        raise ValueError(f"{name}: there are {found} for {num_rows} rows of {of}; pass one a row")


ALPHAS = (1e-4, 1e3)
"""Of Beta(alpha, alpha): where quadrature over the ratio and draws of it work, at all numbers of nodes that are used.

The variance of the ratio is then right to 1e-10 at 128 nodes, and E lam (1 - lam) to 1e-6 of itself."""


def check_alpha(name: str, value: Number) -> Number:
    """Returns the value; raises ValueError unless it lies in `ALPHAS`; says which law to pass instead."""
    least, largest = (f"{end:g}" for end in ALPHAS)
    if is_traced(value) or not is_number(value) or ALPHAS[0] <= np.asarray(value) <= ALPHAS[1]:
        between = f"must lie between {least} and {largest}"
        return check_within(name, value, lambda x: (x >= ALPHAS[0]) & (x <= ALPHAS[1]), between)
    if 0 <= np.asarray(value) < ALPHAS[0]:
        remedy = "for (almost) no mixing pass ERM(), which is the limit of alpha to 0"
    elif np.asarray(value) > ALPHAS[1]:
        remedy = "for (almost) equal shares pass Mixup(lam=0.5), which is the limit of large alpha"
    else:
        remedy = "1 makes all ratios equally likely"
    raise ValueError(f"{name}: must lie between {least} and {largest}, got {value}; {remedy}")


def as_floating(name: str, values: ArrayLike | Sequence[Any]) -> Array:
    """The array as it is, or in floating point if it holds whole numbers.

    Raises:
        TypeError: it holds no real numbers.
    """
    array = values if hasattr(values, "dtype") else _listed(name, values)
    check_real(name, array)
    array = jnp.asarray(array)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def _listed(name: str, values: ArrayLike | Sequence[Any]) -> Array | np.ndarray:
    if is_traced(*jax.tree.leaves(values)):
        return jnp.asarray(values)
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name}: rows differ in length; pass an array, or lists of one length") from error


def check_clock(name: str, values: Clock) -> np.ndarray:
    """Times or steps as a 1-D array; raises ValueError unless they are finite, not negative and strictly ascending."""
    clock = np.asarray(values)
    if clock.ndim != 1 or clock.size == 0 or clock.dtype.kind not in "iuf":
        raise ValueError(
            f"{name}: pass a non-empty one-dimensional list of numbers, got shape {clock.shape}, {clock.dtype}"
        )
    if not np.all(np.isfinite(clock)):
        raise ValueError(
            f"{name}: holds {clock[~np.isfinite(clock)][0]}; pass finite {name} (the limit of infinite "
            "training is the curve's risk_at_infinity)"
        )
    if clock.min() < 0:
        raise ValueError(f"{name}: holds the negative value {clock.min()}; training starts at 0")
    if np.any(np.diff(clock) <= 0):
        first = int(np.argmax(np.diff(clock) <= 0))
        raise ValueError(
            f"{name}: must strictly ascend, but {clock[first]} is followed by {clock[first + 1]} at index {first + 1}; "
            f"pass numpy.unique({name})"
        )
    return clock.astype(float)


def check_steps(steps: Clock) -> np.ndarray:
    """Step counts as a 1-D array of whole numbers."""
    clock = check_clock("steps", steps)
    if np.any(clock != np.floor(clock)):
        raise ValueError(
            f"steps: holds {clock[clock != np.floor(clock)][0]}; steps are counted in whole numbers "
            "(pass times= for gradient flow)"
        )
    return clock
