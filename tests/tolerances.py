"""Every tolerance of the tests, with its reason. Relative, unless it says otherwise."""

IDENTITY = 1e-13
"""Both sides are the same in exact arithmetic and of order one: some hundred roundings of 2e-16."""

EXACT = 2e-15
"""A handful of roundings: a formula evaluated once, against its value in hundreds of digits."""

DERIVATIVE = 1e-12
"""Automatic derivatives just past a switch of formulas divide a rounding of 2e-16 by the switch's 0.1, twice."""

ORACLE = 1e-9
"""Closed form against an independent route to the same number (issue 2 asks for it); mpmath, up to t = 1e6."""

LATE = 1e-6
"""The same up to t = 1e10, where rounding has grown by sqrt(t) (issue 2)."""

GRAM_AT_1E6 = 1e-8
"""The Gram route loses eps t of the weights: 2e-10 at t = 1e6, and some ten times that of a small
risk."""

FLOAT32 = 2e-4
"""Single precision resolves 1e-7; a risk of early times loses some hundred to thousand roundings of it."""

SAMPLING = 4.0
"""Standard errors. A right estimate misses by more once in 16000 draws, and the seeds are fixed."""

FINITE_DIFFERENCE = 1e-6
"""A central difference of step h = 1e-5 is off by h^2 = 1e-10 and by rounding / h = 1e-11, times derivatives of order
a hundred at worst."""

P_VALUE = 1e-3
"""A test of a distribution fails a right sampler once in a thousand seeds; the seeds are fixed."""

TURNING = 1e-8
"""In the time of a minimum: the interpolant is exact to about 1e-13, but a minimum is flat, and the root of the
derivative amplifies that by the ratio of the curve's height to its curvature."""

TURNING_RISK = 1e-11
"""In the risk there, where the flatness of the minimum helps."""

DUAL = 1e-12
"""What `theory.dual` promises, relative to sqrt(E s^2 E q^2); issue 3 asks for it."""

DUAL_FLOOR = 1e-14
"""Absolute, beside `DUAL`: entries of the stored table near zero were summed from terms of order one."""

ROUNDED_STEP = 2e-8
"""Absolute, for jumps on collinear pairs in the stored table: it is of covariances, which had been rounded, and the arc
sine of a correlation of 1 - 2e-16 is off by 2e-8. Ours, of the rows, is not."""

QUADRATURE = 1e-11
"""A numerical integral in the test against one in the library, both good to about 1e-13, and a sum of some tens."""

ESTIMATE = 3.0
"""How far beyond its estimate an error may lie: the estimate is by finer or coarser rules, whose own errors may
point the same way."""

BETA_MOMENT = 1e-11
"""Nodes of a Gauss-Jacobi rule are good to 1e-14, and where the weight is singular the largest power magnifies that."""

DIVIDED_DIFFERENCE = 1e-13
"""Of gradient flow's gain: a few roundings of a slope are measured (1e-14), and sums over all modes in between."""

RINGING_DIFFERENCE = 1e-12
"""The same of rules whose modes ring: their gains are exact to some hundred roundings."""

MATRIX_DERIVATIVE = 1e-11
"""Derivatives along a matrix in 50 digits, against ours: eigenvectors are good to a rounding over the gap, but what
depends on them alone drops out; left are some hundred roundings of the derivative's largest term."""

CLOCK = 1e-12
"""Two problems that are the same but for a factor on C and b, up to times of 1e3: each is good to some hundred
roundings."""

CONTOUR = 2e-11
"""Absolute, of vectors of length about two: twice three of the contour's tolerances of 1e-12, and the solves."""

LEFT_OUT = 1e-10
"""Leave-one-out against refits at early times, relative to the size of labels or residuals: the contour's three
tolerances of 1e-12, some ten times where an outlier is left out."""

REFIT = 1e-8
"""The same at all times at which it is known to that, and by sums of products: three decimals above double precision's
rounding, for cancellations in the late ones."""
