"""Calls that cannot be right, by what the library must say to them."""

FEW = r"^ValueError: (labels|targets): there are 5 for 8 rows of inputs; pass one a row$"
MORE = r"^ValueError: (labels|targets): there are 8 for 5 rows of inputs; pass one a row$"
COMPLEX = r"^TypeError: \w+: holds values of type complex128; pass real ones"
OTHER_MAP = r"^ValueError: population: was made by another feature map than the features"
NO_KEY = r"^TypeError: keys?: pass jax.random.key\(seed\), got 0$"
NO_PROBLEM = r"^TypeError: (problem|problem of phase 1|mixed|first): pass an rfm.Problem.*, got (a )?Curve"
NO_RULE = r"^TypeError: rule: pass a rule, such as theory.GradientFlow\(\) .*, got 'flow'$"
NO_START = r"^TypeError: start: pass rfm.Start\(weights=...\), .*, got an array of shape \(6, 1\)$"
NO_TOLERANCE = r"^ValueError: tolerance: must be a positive number, got (-1.0|0.0|nan)$"
IN_JIT = r"^TypeError: jit: traces whatever is made inside of it, but values are looked at; call this outside of them"
TRUTH_VALUES = r"^TypeError: (labels|targets): holds values of type bool; pass numbers .* or whole numbers where"

REFUSED = {
    FEW: [
        "rfm.synthesize(few, features, law, population=population)",
        "rfm.synthesize(few, features, rfm.ERM(), population=population)",
        "rfm.synthesize(few, features, law, population=population, block_rows=4)",
        "rfm.synthesize(few, endless, law, population=task.test_set(endless, 5, key=key(3)))",
        "rfm.synthesize(few, features, fresh, population=population)",
        "rfm.decide.mixup_family(few, features, population=population)",
        "rfm.DataTask(x, y[:5], num_test=2)",
        "rfm.data.KernelTruth(x, y[:5])",
        "rfm.data.prepare(x, y[:5])",
        "rfm.advise(x, y[:5], features=features, key=key(0))",
    ],
    MORE: [
        "rfm.synthesize(more, features, law, population=population)",
        "rfm.expected_mixup(more, features, fresh, population=population)",
        "rfm.data.prepare(x[:5], y)",
        "rfm.advise(x[:5], y, features=features, key=key(0))",
    ],
    r"^ValueError: labels: there are 5 for 8 rows of features": ["theory.decompose(phi, sample.labels[:5])"],
    r"^ValueError: truth\(inputs\): there are 5 for 8 rows": [
        "rfm.DataTask(x, y, truth=lambda x: x[:5, 0], num_test=2)"
    ],
    r"^ValueError: values: there are 5, but the table mixes the one at index 7$": [
        "next(law.tables(8, 64)).mix(sample.labels[:5])"
    ],
    COMPLEX: [
        "rfm.synthesize(odd, features, law, population=population)",
        "rfm.expected_mixup(odd, features, fresh, population=population)",
        "rfm.Problem(phi, y + 1j, population=population)",
        "rfm.Problem(1j * phi, y, population=population)",
        "rfm.synthesize(sample, lambda x: 1j * x, law, population=rfm.TestSet(x, y))",
        "rfm.expected_mixup(sample, lambda x: 1j * x, fresh, population=rfm.TestSet(x, y))",
        "rfm.TestSet(phi, y + 1j)",
        "rfm.Population(1j * jnp.eye(2), jnp.ones(2), 1.0)",
        "rfm.Start(weights=1j * start)",
        "rfm.DataTask(x, y + 1j, num_test=2)",
        "rfm.data.KernelTruth(x + 1j, y)",
        "rfm.data.prepare(x + 1j, y)",
        "rfm.data.prepare(x, y + 1j)",
        "rfm.advise(x, y + 1j, features=features, key=key(0))",
        "features(x + 1j)",
        "next(law.tables(8, 64)).mix(y + 1j)",
        "theory.decompose(1j * phi, y)",
        "theory.StepSchedule([1j])",
        "rfm.data.QuadraticTruth(1j * jnp.eye(2), jnp.ones(2))",
        "rfm.data.LinearTruth(1j * jnp.ones(2))",
        "rfm.data.TwoLayerTeacher(jnp.ones((2, 4)), 1j * jnp.ones(2), jnp.tanh)",
        "rfm.mixup.PairTable(jnp.arange(8), jnp.arange(8), 1j * jnp.ones(8)).mix(y)",
    ],
    r"^ValueError: times: pass a non-empty one-dimensional list of numbers, got shape \(2,\), complex": [
        "rfm.closed_form(problem, times=[0, 1j])"
    ],
    OTHER_MAP: [
        "rfm.synthesize(sample, other, law, population=population)",
        "rfm.synthesize(sample, other, law, population=population, block_rows=4)",
        "rfm.synthesize(sample, other, law, population=task.test_set(features, 5, key=key(3)))",
        "rfm.synthesize(sample, jnp.tanh, law, population=task.test_set(jnp.cos, 5, key=key(3)))",
        "rfm.synthesize(sample, bent, law, population=task.test_set(endless, 5, key=key(3)))",
        "rfm.expected_mixup(sample, other, fresh, population=population)",
        "rfm.decide.mixup_family(sample, other, population=population)",
        "rfm.synthesize(sample, features, law, population=rfm.DataTask(x, y, num_test=2).test_set(other))",
    ],
    r"^ValueError: population: is a test set in infinitely many features": [
        "rfm.synthesize(sample, features, law, population=task.test_set(endless, 5, key=key(3)))"
    ],
    r"^ValueError: population: was made by another feature map than the features of the first problem": [
        "rfm.closed_form_phases([rfm.TrainingPhase(problem, flow, 1), rfm.TrainingPhase(elsewhere, flow)], times=[2])",
        "rfm.closed_form_switch(problem, elsewhere, budget=1.0)",
        "rfm.compare_cures(problem, elsewhere, budget=1.0)",
        "rfm.simulate_phases([rfm.TrainingPhase(p, descent, 1) for p in (problem, elsewhere)], steps=[2])",
    ],
    r"^ValueError: features: take 4 inputs, but there are 3; pass RandomFeatures\(input_dim=3": [
        "rfm.synthesize(rfm.Sample(x[:, :3], y, None), features, law, population=population)"
    ],
    r"^ValueError: features: values of size .* are too large to be squared in float64; rescale": ["scaled(1e200)"],
    r"^ValueError: features: values of size .* are too small to be squared in float64; rescale": [
        "scaled(1e-170)",
        "rfm.expected_mixup(sample, lambda x: 1e-170 * x, fresh, population=rfm.TestSet(x, y))",
        "rfm.advise(x, y, features=lambda x: 1e-170 * x, key=key(0))",
        "theory.decompose(1e-170 * phi, y)",
    ],
    r"^ValueError: labels: values of size .* are too large to be squared": [
        "labelled(1e25, np.float32)",
        "labelled(1e200)",
        "theory.decompose(phi, 1e200 * y)",
    ],
    NO_TOLERANCE: [
        f"{call}tolerance={value})"
        for value in ("-1.0", "0.0", "float('nan')")
        for call in (
            "rfm.closed_form(problem, times=[0.0], ",
            "rfm.risk_over_labels(problem, label_noise_variance=1.0, times=[0.0], ",
            "rfm.closed_form_phases([rfm.TrainingPhase(problem, flow)], times=[1.0], ",
            "theory.risk_curve(problem.spectrum(), population, flow, [1.0], ",
            "theory.phases.phased_curve([theory.phases.Phase(problem.spectrum(), flow)], population, [1.0], ",
            "rfm.expected_mixup(sample, features, fresh, population=population, ",
            "rfm.decide.leave_one_out(problem, times=[0.0], ",
            "rfm.advise(x, y, features=features, key=key(0), law=drawn, ",
        )
    ],
    r"^ValueError: budget: 1e-300 is over before anything is learnt; .* so pass .* or more$": [
        "rfm.closed_form_switch(problem, problem, budget=1e-300)",
        "rfm.closed_form_switch(problem, problem, budget=1e-300, switch_times=[0.0])",
        "rfm.compare_cures(problem, problem, budget=1e-300)",
        "rfm.solve(problem).turning(budget=1e-300)",
        "rfm.tune_mixup(family, budget=1e-300)",
    ],
    r"^ValueError: budget: 1e-300 is over before the first step, of .*; pass some steps' time, such as": [
        "rfm.advise(x, y, features='raw', num_folds=2, key=key(0), budget=1e-300)"
    ],
    NO_RULE: [
        "rfm.closed_form(problem, times=[0.0], rule='flow')",
        "rfm.risk_over_labels(problem, label_noise_variance=1.0, times=[0.0], rule='flow')",
        "rfm.closed_form_phases([rfm.TrainingPhase(problem, 'flow')], times=[1.0])",
        "rfm.closed_form_switch(problem, problem, budget=1.0, rule='flow')",
        "rfm.compare_cures(problem, problem, budget=1.0, rule='flow')",
        "rfm.simulate(problem, steps=[1], rule='flow')",
        "theory.risk_curve(problem.spectrum(), population, 'flow', [1.0])",
    ],
    NO_START: [
        "rfm.closed_form(problem, times=[0.0], start=start)",
        "rfm.closed_form_phases([rfm.TrainingPhase(problem, flow)], times=[1.0], start=start)",
        "rfm.simulate(problem, steps=[1], step_size=0.1, start=start)",
        "rfm.simulate_minibatch(problem, batches=rfm.Batches(2), steps=[1], step_size=0.1, start=start, keys=[key(0)])",
        "rfm.minibatch_curve(problem, batches=rfm.Batches(2), steps=[1], step_size=0.1, start=start)",
        "rfm.liu2023_risk_bound(rfm.Problem(phi, y, y, population=rfm.TestSet(phi, y)), [1.0], start=start)",
    ],
    NO_KEY: [
        "rfm.TeacherStudent(4, 3, key=0)",
        "rfm.RandomFeatures(4, 3, key=0)",
        "task.sample(3, key=0)",
        "task.test_set(features, 3, key=0)",
        "rfm.DataTask(x, y, num_test=2, key=0)",
        "rfm.DataTask(x, y, num_test=2).sample(2, key=0)",
        "rfm.DataTask(x, y, num_test=2).test_set(features, 1, key=0)",
        "rfm.synthesize(sample, features, drawn, population=population, key=0)",
        "rfm.simulate(problem, steps=[1], step_size=0.1, start=rfm.Start(variance=1.0), key=0)",
        "rfm.simulate(problem, steps=[1], step_size=0.1, batches=rfm.Batches(2), key=0)",
        "rfm.simulate_minibatch(problem, steps=[1], step_size=0.1, batches=rfm.Batches(2), keys=[0])",
        "rfm.simulate_many([problem], steps=[1], step_size=0.1, keys=[0])",
        "rfm.advise(x, y, features=features, key=0)",
    ],
    NO_PROBLEM: [
        "rfm.closed_form(curve, times=[0.0])",
        "rfm.risk_over_labels(curve, label_noise_variance=1.0, times=[0.0])",
        "rfm.simulate(curve, steps=[1], step_size=0.1)",
        "rfm.simulate_many([curve], steps=[1], step_size=0.1)",
        "rfm.simulate_phases([rfm.TrainingPhase(curve, descent)], steps=[1])",
        "rfm.simulate_minibatch(curve, batches=rfm.Batches(2), steps=[1], step_size=0.1, keys=[key(0)])",
        "rfm.minibatch_curve(curve, batches=rfm.Batches(2), steps=[1], step_size=0.1)",
        "rfm.closed_form_phases([rfm.TrainingPhase(curve, flow)], times=[1.0])",
        "rfm.closed_form_switch(curve, problem, budget=1.0)",
        "rfm.compare_cures(curve, problem, budget=1.0)",
        "rfm.solve(curve).largest_stable_step(rfm.Batches(2))",
        "rfm.liu2023_risk_bound(curve, [1.0])",
        "rfm.decide.leave_one_out(curve, times=[1.0])",
    ],
    r"^TypeError: rule: pass theory.GradientFlow\(ridge\), .*, got ('flow'|a GradientDescent)$": [
        f"rfm.decide.leave_one_out(problem, times=[1.0], rule={rule})" for rule in ("'flow'", "descent")
    ],
    r"^TypeError: problem: pass an rfm.Problem, got StreamedProblem; the rows of": [
        "rfm.decide.leave_one_out(rfm.synthesize(sample, features, law, population=population, block_rows=4), "
        "times=[1.0])"
    ],
    r"^ValueError: problem: its rows are mixed of pairs, .*pairs=\"expected\".*rfm.advise\(": [
        f"rfm.decide.leave_one_out(rfm.synthesize(sample, features, {mixing}, population=population), times=[1.0])"
        for mixing in ("law", "rfm.mixup.PairTable(jnp.arange(8) // 2, jnp.arange(8) // 2, jnp.ones(8))")
    ],
    r"^ValueError: problem: its law, .*, weighs the pairs that are left otherwise .*rfm.advise\(.*num_folds=": [
        f"rfm.decide.leave_one_out(rfm.synthesize(sample, features, rfm.Mixup(0.5, pairs='expected', {choice}), "
        "population=population), times=[1.0])"
        for choice in ("partners=rfm.SimilarLabels(0.5)", "share=0.5")
    ],
    r"^ValueError: problem \(its originals\): must be a whole number of at least 3, got 2$": [
        "rfm.decide.leave_one_out(rfm.Problem(phi[:2], y[:2], population=population), times=[1.0])",
        "rfm.decide.leave_one_out(rfm.expected_mixup(rfm.Sample(sample.inputs[:2], sample.labels[:2], None), features, "
        "fresh, population=population), times=[1.0])",
    ],
    r"^ValueError: times: must be finite, .*; pass late times instead$": [
        "rfm.decide.leave_one_out(problem, times=[1.0, np.inf])"
    ],
    r"^TypeError: family: pass what rfm.decide.mixup_family gives, got a Curve": ["rfm.tune_mixup(curve, budget=1.0)"],
    r"^TypeError: phases: pass rfm.TrainingPhase\(.*\) in a list, got a Problem": [
        "rfm.closed_form_phases([problem], times=[1.0])",
        "rfm.simulate_phases([problem], steps=[1])",
    ],
    r"^TypeError: population: pass an rfm.TestSet or an rfm.Population, got Curve": [
        "rfm.Problem(phi, y, population=curve)",
    ],
    r"^TypeError: inputs: pass an array, such as jax.numpy.asarray\(inputs\), got a list$": [
        "features([[1.0, 2.0, 3.0, 4.0]])"
    ],
    r"^TypeError: features: pass rfm.RandomFeatures or any callable of inputs, got 'relu'": [
        "rfm.synthesize(sample, 'relu', law, population=population)",
        "task.test_set('relu', 3, key=key(0))",
    ],
    r"^TypeError: sample: pass an rfm.Sample\(.*, got a tuple": [
        "rfm.synthesize((x, y), features, law, population=population)"
    ],
    TRUTH_VALUES: [
        "rfm.Problem(phi, y > 0, population=population)",
        "rfm.TestSet(phi, y > 0)",
        "rfm.DataTask(x, y > 0, num_test=2)",
        "rfm.data.prepare(x, y > 0)",
        "rfm.advise(x, y > 0, features=features, key=key(0))",
    ],
    r"^TypeError: targets: holds values of type <U1; pass an array of numbers": [
        "rfm.data.prepare(x, list('abcdefgh'))"
    ],
    r"^ValueError: features: rows differ in length": ["rfm.Problem([[1.0], [1.0, 2.0]], y[:2], population=population)"],
    r"^ValueError: (lam|alpha): must lie .*, got ('all'|0.5j|an array of shape \(2,\))$": [
        "rfm.Mixup('all')",
        "rfm.Mixup(0.5j)",
        "rfm.Mixup(alpha='all')",
        "rfm.Mixup(alpha=np.ones(2))",
    ],
    IN_JIT: [
        "jax.jit(lambda x: rfm.closed_form(problem, times=[1.0]).risk + x)(1.0)",
        "jax.jit(lambda f: f.feature_moment(features))(rfm.data.LinearTruth(jnp.ones(4)))",
        "jax.jit(lambda f: f.noise_moments(lam=0.5).power)(task.truth)",
    ],
    r"^ValueError: (weights|noise_weights|spread): values of size 1e\+200 are too large to be squared": [
        "rfm.Start(weights=1e200 * start)",
        "rfm.Start(weights=start, noise_weights=1e200 * start)",
        "rfm.Start(spread=1e200 * start)",
    ],
    r"^ValueError: (second_moment|target_power): values of size 1e\+200 are too large to be squared": [
        "rfm.Population(1e200 * jnp.eye(1), jnp.ones(1), 1.0)",
        "rfm.Population(jnp.eye(1), jnp.ones(1), 1e200)",
    ],
    r"^ValueError: weights: 1 of 6 values are not finite": ["rfm.Start(weights=start.at[1].set(np.nan))"],
    r"^ValueError: features: take 5 inputs, but there are (4|1); pass RandomFeatures\(input_dim=(4|1), ...\)$": [
        "rfm.advise(x, y, features=rfm.RandomFeatures(5, 6, key=key(0)), key=key(0))",
        "rfm.advise(x[:, 0], y, features=rfm.RandomFeatures(5, 6, key=key(0)), key=key(0))",
    ],
    r"^TypeError: keys: pass a list of jax.random.key\(seed\), one a (run|problem), got (a key|0)$": [
        f"rfm.{call}, keys={keys})"
        for keys in ("key(0)", "0")
        for call in (
            "simulate_minibatch(problem, steps=[1], step_size=0.1, batches=rfm.Batches(2)",
            "simulate_many([problem], steps=[1], step_size=0.1",
        )
    ],
    r"^TypeError: truth: pass a callable of inputs, such as rfm.data.LinearTruth\(slope\), got 5$": [
        "rfm.synthesize(rfm.Sample(x, y, 5), features, law, population=population)",
        "rfm.synthesize(rfm.Sample(x, y, 5), features, fresh, population=population)",
        "rfm.GaussianTask(5, 4)",
        "rfm.DataTask(x, y, truth=5, num_test=2)",
    ],
    r"^ValueError: (first|second): holds the negative index -2; pass indices from 0 on$": [
        "rfm.mixup.PairTable(jnp.arange(8) - 2, jnp.arange(8), jnp.ones(8)).mix(y)",
        "rfm.mixup.PairTable(jnp.arange(8), jnp.arange(8) - 2, jnp.ones(8)).mix(y)",
    ],
    r"^ValueError: lam: must lie in \[0, 1\], got (3.0|-0.5|nan) at row 1$": [
        f"rfm.mixup.PairTable(jnp.arange(8), jnp.arange(8), jnp.ones(8).at[1].set({share})).mix(y)"
        for share in ("3.0", "-0.5", "np.nan")
    ],
    r"^ValueError: label_noise_std: must be a finite number that is not negative, got -0.1$": [
        "jax.jit(lambda x: rfm.GaussianTask(task.truth, 4, label_noise_std=-0.1).truth(x))(x)"
    ],
    r"^TypeError: partners: pass such as rfm.SimilarLabels\(bandwidth\) or rfm.mixup.OtherSamples\(\), or a matrix": [
        f"rfm.Mixup(lam=0.5, partners={partners})" for partners in ("'similar'", "rfm.SimilarLabels", "3")
    ],
    r"^ValueError: space: 'weights' is not known": ["rfm.Mixup(lam=0.5, space='weights')"],
    r"^ValueError: until: must be a positive time, got ('a'|nan|0)": [
        f"rfm.solve(problem, until={until})" for until in ("'a'", "np.nan", "0")
    ],
    r"^ValueError: step_size: must be a positive number, got 'a'": [
        "trained('a')",
        "rfm.minibatch_curve(problem, batches=rfm.Batches(2), step_size='a', steps=[1])",
        "rfm.simulate_minibatch(problem, batches=rfm.Batches(2), step_size='a', steps=[1], keys=[key(0)])",
    ],
    r"^ValueError: step_size: must be a positive number, got an array of shape \(2,\)": ["trained(jnp.ones(2))"],
}

TRACED = {
    "problem": [
        "jax.jit(risk)(sample.labels)",
        "jax.grad(risk)(sample.labels)",
        "jax.vmap(risk)(sample.labels[None])",
        "jax.jit(lambda phi: rfm.Problem(phi, y, population=population).largest_eigenvalue())(phi)",
        "jax.jit(lambda p: rfm.closed_form(p, times=[1.0]).risk)(problem)",
        "jax.jit(lambda p: rfm.decide.leave_one_out(p, times=[1.0]).risk)(problem)",
        "jax.jit(lambda p: rfm.closed_form(p, times=[1.0]).risk)(rfm.synthesize(sample, features, fresh, "
        "population=population))",
    ],
    "step_size": [
        "jax.jit(trained)(0.1)",
        "jax.grad(trained)(0.1)",
        "jax.jit(lambda s: rfm.minibatch_curve(problem, batches=rfm.Batches(2), step_size=s, steps=[1]).risk)(0.1)",
        "jax.vmap(lambda s: rfm.minibatch_curve(problem, rfm.Batches(2), step_size=s, steps=[1]).risk)(jnp.ones(2))",
        "jax.jit(lambda s: rfm.simulate_many([problem], step_size=s, steps=[1])[0].risk)(0.1)",
    ],
    "ridge": [
        "jax.vmap(lambda r: rfm.solve(problem).largest_stable_step(rfm.Batches(2), ridge=r))(jnp.ones(2))",
        "jax.vmap(lambda r: rfm.simulate(problem, step_size=0.1, ridge=r, steps=[1]).risk)(jnp.ones(2))",
        "jax.jit(lambda r: rfm.data.KernelTruth(x, y, ridge=r).coefficients)(1.0)",
    ],
    "rule": [
        "jax.jit(lambda s: rfm.closed_form(problem, steps=[1], rule=theory.GradientDescent(s)).risk)(0.1)",
        "jax.vmap(lambda s: rfm.closed_form(problem, steps=[1], rule=theory.GradientDescent(s)).risk)(jnp.ones(2))",
        "jax.vmap(lambda s: rfm.solve(problem).largest_stable_step(theory.HeavyBall(s, 0.5)))(jnp.ones(2))",
    ],
    "start": [
        "jax.jit(lambda v: rfm.closed_form(problem, times=[1.0], start=rfm.Start(variance=v)).risk)(0.1)",
        "jax.vmap(lambda v: rfm.closed_form(problem, times=[1.0], start=rfm.Start(variance=v)).risk)(jnp.ones(2))",
    ],
    "label_noise_variance": [
        "jax.jit(lambda v: rfm.risk_over_labels(problem, times=[1.0], label_noise_variance=v).mean)(0.1)",
        "jax.vmap(lambda v: rfm.risk_over_labels(problem, times=[1.0], label_noise_variance=v).mean)(jnp.ones(2))",
    ],
    "times": ["jax.grad(lambda t: rfm.closed_form(problem, times=t).risk[1])(jnp.arange(2.0))"],
    "budget": [
        "jax.jit(lambda b: rfm.closed_form_switch(problem, problem, budget=b).risk)(1.0)",
        "jax.vmap(lambda b: rfm.closed_form_switch(problem, problem, budget=b).risk)(jnp.ones(2))",
        "jax.vmap(lambda b: rfm.compare_cures(problem, problem, budget=b)['stop'].risk)(jnp.ones(2))",
        "jax.vmap(lambda b: rfm.solve(problem).turning(budget=b).risk)(jnp.ones(2))",
        "jax.jit(lambda b: rfm.tune_mixup(family, budget=b).risk)(1.0)",
        "jax.vmap(lambda b: rfm.tune_mixup(family, budget=b).risk)(jnp.ones(2))",
    ],
    "until": [
        "jax.jit(lambda t: rfm.solve(problem, until=t).spectrum)(1.0)",
        "jax.vmap(lambda t: rfm.solve(problem, until=t).spectrum)(jnp.ones(2))",
    ],
    "keys?": [
        f"jax.{transform}(lambda k: rfm.{call})(jax.random.split(key(0), 2))"
        for transform in ("jit", "vmap")
        for call in (
            "simulate(problem, step_size=0.1, steps=[1], batches=rfm.Batches(2), key=k).risk",
            "simulate(problem, step_size=0.1, steps=[1], start=rfm.Start(variance=1.0), key=k).risk",
            "simulate_many([problem], step_size=0.1, steps=[1], start=rfm.Start(variance=1.0), keys=[k])[0].risk",
            "simulate_minibatch(problem, step_size=0.1, steps=[1], batches=rfm.Batches(2), keys=[k]).parts",
        )
    ],
    "family": ["jax.jit(lambda family: rfm.tune_mixup(family, budget=1.0).risk)(family)"],
    "sample": [
        "jax.jit(lambda y: rfm.expected_mixup(rfm.Sample(x, y, None), features, fresh, population=population))(y)"
    ],
    "targets": [
        "jax.jit(lambda y: rfm.data.prepare(x, y).targets)(y)",
        "jax.jit(lambda y: rfm.advise(x, y, features=features, key=key(0)).times)(y)",
        "jax.jit(lambda y: rfm.data.KernelTruth(x, y).coefficients)(y)",
    ],
    "law": [
        f"jax.{transform}(lambda r: rfm.synthesize(sample, features, rfm.Mixup({name}=r, pairs='expected'), "
        "population=population).smoother)(0.5 * jnp.ones(2))"
        for transform in ("vmap", "jacfwd", "jacrev")
        for name in ("lam", "alpha")
    ],
    "features": [
        "jax.jit(lambda phi: task.population(phi).power)(features)",
        "jax.jit(lambda phi: rfm.data.LinearTruth(jnp.ones(4)).feature_moment(phi))(features)",
    ],
    "truth": [
        "jax.jit(lambda f: f.lipschitz_constant())(task.truth)",
        "jax.jit(lambda f: f.smoothness_constant())(task.truth)",
    ],
    "lam": ["jax.jit(lambda lam: task.truth.noise_moments(lam=lam).power)(0.5)"],
    "alpha": ["jax.grad(lambda alpha: task.truth.noise_moments(alpha=alpha).power)(0.5)"],
    "stds": ["jax.jit(lambda f: f.conditional_noise(sample.inputs, 0.5))(task.truth)"],
}
REFUSED |= {rf"^TypeError: {name}: is traced by jit, grad or vmap, but": calls for name, calls in TRACED.items()}
