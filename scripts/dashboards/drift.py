"""Drift: has the input, the scores or the mix of cases moved, by more than chance?"""

from grafana import BLUE, PLACE, Dashboard, band, dashed, fixed, named, steps

ALL = 'model="$model",version="$version",slice="all",window="$window"'
CHANCE = """ The dashed line is the value that chance alone exceeds once in twenty at this number of cases: only above it has the
        distribution moved."""


def over_chance(metric, by):
    return f"max by ({by}) (dosimeter_{metric}{{{ALL}}}) / max by ({by}) (dosimeter_{metric}_null95{{{ALL}}})"


def make():
    d = Dashboard("drift", "Drift",
                  "Distances of scores, cases and features from the approved reference, each beside what chance alone makes of it.")
    d.prometheus().places("dosimeter_score_psi", "dosimeter_score_psi").alert_marks()

    def moved(metric, by):
        return f"count({over_chance(metric, by)} > 1) or on() vector(0)"

    warn = steps("green", (1, "orange"))
    d.stat("Outputs that have moved", "Outputs whose scores are farther from the reference than chance explains, by PSI. One in twenty is so by chance.",
           moved("score_psi", "output"), decimals=0, thresholds=warn, w=6)
    d.stat("Dimensions that have moved", "Attributes of the cases whose mix is farther from the reference than chance explains.",
           moved("dimension_psi", "dimension"), decimals=0, thresholds=warn, w=6)
    d.stat("Features that have moved", "Features of the input that are farther from the reference than chance explains.",
           moved("feature_psi", "output"), decimals=0, thresholds=warn, w=6)
    d.stat("Cases compared", "Predictions of the output and slice in the window: with few, only large changes show.",
           f"max(dosimeter_predictions{{{PLACE}}})", unit="short", w=6)

    d.row("Scores: $output, slice $slice, window $window")
    d.distance("PSI", "Population stability index of the scores against the reference. It weighs changes in rare score ranges heavily." + CHANCE,
               "score_psi", "PSI", decimals=4, minimum=0, w=6)
    d.distance("JS divergence", """Jensen-Shannon divergence of the scores from the reference: 0 is the same distribution; it is bounded, and
        calmer than the PSI where bins are empty.""" + CHANCE, "score_js", "JS divergence", decimals=4, minimum=0, w=6)
    d.distance("KS distance", """Kolmogorov-Smirnov distance: the largest gap between the cumulative distributions of the scores now and on the
        reference.""" + CHANCE, "score_ks", "KS distance", decimals=4, minimum=0, w=6)
    d.lines("p values", """Probability of a distance at least this large if nothing has changed, for each of the three measures. Below 0.05 (grey
        line) chance is an unlikely explanation; with many outputs and slices some values fall below it by chance.""",
            [(name, f"max(dosimeter_{metric}_p_value{{{PLACE}}})") for name, metric in
             [("PSI", "score_psi"), ("JS divergence", "score_js"), ("KS distance", "score_ks")]],
            decimals=3, minimum=0, maximum=1, line_at=0.05, w=6)
    d.lines("Scores over chance, every output", "PSI of each output's scores over the value that chance alone exceeds once in twenty: above 1 (grey line) they have moved.",
            [("{{output}}", over_chance("score_psi", "output"))], decimals=2, minimum=0, line_at=1, w=12)
    d.lines("Label shift", """Share of positive cases among those with truth, with its 95 % interval, and the prevalence of the approved reference (dashed): other
        patients, or other readers.""", [
            ("prevalence", f"max(dosimeter_prevalence{{{PLACE}}})"), ("95 % lower", f"max(dosimeter_prevalence_lower{{{PLACE}}})"),
            ("95 % upper", f"max(dosimeter_prevalence_upper{{{PLACE}}})"),
            ("reference", 'max(dosimeter_reference_prevalence{model="$model",version="$version",output="$output",slice="$slice"})'),
        ], unit="percentunit", decimals=1, w=12, overrides=[
            named("prevalence", color=fixed(BLUE)), *band("95 % lower", "95 % upper"), dashed("reference")])

    d.row("Case mix: each dimension, slice all, window $window")
    d.lines("PSI over chance by dimension", """Population stability index of each attribute of the cases (site, vendor, age and so on) against the
        reference, divided by the value that chance alone exceeds once in twenty. Above 1 (grey line) the mix of cases has moved in that
        dimension.""", [("{{dimension}}", over_chance("dimension_psi", "dimension"))], decimals=2, minimum=0, line_at=1, w=12, h=9)
    columns = [(heading + ending, f"max by (dimension) (dosimeter_dimension_{metric}{suffix}{{{ALL}}})")
               for heading, metric in [("PSI", "psi"), ("JS", "js"), ("KS", "ks")]
               for ending, suffix in [("", ""), (" chance", "_null95"), (" p", "_p_value")]]
    d.table("Drift by dimension", """The three distances of each attribute from the reference, each with the value that chance alone exceeds once in
        twenty (chance) and the p value. KS exists for ordered dimensions only, such as age. A dimension has moved when its distance is
        above its chance value and its p value is small.""", columns, keys=[("dimension", "Dimension")], w=12, h=9, sort=("PSI p", False),
            overrides=[small(p) for p in ("PSI p", "JS p", "KS p")])

    d.row("Features of the input, window $window")
    d.lines("PSI over chance by feature", """Population stability index of each feature of the input against the reference, divided by the value that
        chance alone exceeds once in twenty. Above 1 (grey line) the feature has moved. `dosimeter drift` ranks them by evidence.""",
            [("{{output}}", over_chance("feature_psi", "output"))], decimals=2, minimum=0, line_at=1, w=12, h=9)
    d.lines("Missing and unseen values", """Share of predictions without a value for the feature, and share whose value the reference never had: a new
        category, or a number out of its range.""", [
            ("{{output}} missing", f"max by (output) (dosimeter_feature_missing{{{ALL}}})"),
            ("{{output}} unseen", f"max by (output) (dosimeter_feature_unseen{{{ALL}}})"),
        ], unit="percentunit", decimals=2, minimum=0, w=12, h=9)
    return d


def small(name):
    return named(name, thresholds=steps("orange", (0.05, "text")), custom__cellOptions={"type": "color-text"})
