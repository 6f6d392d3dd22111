"""Slices and fairness: is every part of the cases served as well as the whole?"""

from grafana import GREEN, RED, Dashboard, link_to, named, steps

HERE = 'model="$model",version="$version",output="$output",window="$window"'


def by_slice(metric, place=HERE):
    return f"max by (slice) (dosimeter_{metric}{{{place}}})"


def make():
    d = Dashboard("slices", "Slices and fairness",
                  "Every slice of a model that states probabilities, against its own reference and against all cases.")
    d.prometheus().places("dosimeter_mean_score", "dosimeter_mean_score", slice_=False)
    d.variable("threshold", "Threshold", "The operating point of the rates.",
               'label_values(dosimeter_alert_rate{model="$model",version="$version",output="$output"}, threshold)', sort=3)
    d.alert_marks()
    reference = by_slice("reference_auroc", 'model="$model",version="$version",output="$output"')
    whole = f'max(dosimeter_auroc{{{HERE},slice="all"}})'
    lost = f'count({by_slice("auroc_upper")} < on(slice) {reference}) or on() vector(0)'

    d.stat("Slices", "Parts of the cases that have an estimate in the window, crossed ones included.",
           f'count({by_slice("predictions")})', decimals=0, w=4)
    d.stat("Surely worse than their reference", """Slices whose AUROC is below its value on the approved reference with the whole 95 % interval. With
        many slices one in forty is so by chance; what the alarm engine raises is held to the budget instead.""", lost, decimals=0,
           thresholds=steps(GREEN, (1, "orange")), w=7)
    d.stat("Widest gap", """AUROC of the best slice less that of the worst, of slices with a number. It is wide by chance alone where slices are
        small: read the intervals below.""",
           f'max({by_slice("auroc")}) - min({by_slice("auroc")})', decimals=3, w=4)
    d.stat("Worst slice", "The lowest AUROC of a slice.",
           f'bottomk(1, {by_slice("auroc", HERE + chr(44) + "slice!=" + chr(34) + "all" + chr(34))})', decimals=3, w=9,
           text="value_and_name", legend="{{slice}}")

    d.row("Performance by slice: $output, window $window")
    d.bars("AUROC by slice", """AUROC of each slice, lowest first. A small slice is uncertain: read its interval in the table beside before drawing
        a conclusion.""", f'sort(max by (slice) (dosimeter_auroc{{{HERE},slice!="all"}}))', "{{slice}}", decimals=3, minimum=0.5,
           maximum=1, h=16)
    d.table("Slices", """Every slice with its counts, AUROC with its 95 % interval, its own reference and the difference from slice all. A slice does
        worse for certain when its upper bound lies below its reference. With many slices, a few differ by chance.""", [
            ("Predictions", by_slice("predictions")), ("With truth", by_slice("labelled")), ("Positive", by_slice("positives")),
            ("AUROC", by_slice("auroc")), ("AUROC lower", by_slice("auroc_lower")), ("AUROC upper", by_slice("auroc_upper")),
            ("AUROC reference", reference), ("Difference from all", f'{by_slice("auroc")} - on() group_left() {whole}'),
            ("Observed/expected", by_slice("observed_expected")), ("Label coverage", by_slice("label_coverage")),
        ], keys=[("slice", "Slice")], w=16, h=16, sort=("AUROC", False), overrides=[
            *(named(count, decimals=0, unit="none") for count in ("Predictions", "With truth", "Positive")),
            named("Label coverage", unit="percentunit", decimals=1), named("Observed/expected", decimals=2),
            named("Difference from all", thresholds=steps(RED, (-0.05, "text")), custom__cellOptions={"type": "color-text"}),
            named("Slice", links=link_to("model", "Show ${__value.text}", "model", "version", "output", "slice=${__value.text}",
                                         "window")),
        ])
    d.lines("AUROC over time", "AUROC of every slice of one dimension or crossing at each scrape. A slice that leaves the others has a cause of its own.",
            [("{{slice}}", by_slice("auroc"))], decimals=3, w=24, h=9)

    at = HERE + ',threshold="$threshold"'
    d.row("Who is flagged, missed and warned in vain: $output at threshold $threshold")
    d.bars("Sensitivity by slice", """Share of the positive cases of each slice that are flagged: equal opportunity means that no group is missed more
        often than another. The intervals are in the table below.""", f'sort({by_slice("sensitivity", at)})', "{{slice}}",
           unit="percentunit", decimals=1, minimum=0, maximum=1, h=12)
    d.bars("Specificity by slice", "Share of the negative cases of each slice that are left unflagged.",
           f'sort({by_slice("specificity", at)})', "{{slice}}", unit="percentunit", decimals=1, minimum=0, maximum=1, h=12)
    d.bars("Alert rate by slice", "Share of all cases of each slice that are flagged, whether or not their truth is known.",
           f'sort({by_slice("alert_rate", at)})', "{{slice}}", unit="percentunit", decimals=1, minimum=0, maximum=1, h=12)
    d.table("Rates with their intervals", """Sensitivity and specificity of each slice with their 95 % intervals (Wilson). Two slices differ for certain
        when their intervals do not meet; that they meet does not show that they are equal.""", [
            ("Positive", by_slice("positives")), ("Sensitivity", by_slice("sensitivity", at)),
            ("Sens. lower", by_slice("sensitivity_lower", at)), ("Sens. upper", by_slice("sensitivity_upper", at)),
            ("Specificity", by_slice("specificity", at)), ("Spec. lower", by_slice("specificity_lower", at)),
            ("Spec. upper", by_slice("specificity_upper", at)), ("PPV", by_slice("ppv", at)), ("Mean score", by_slice("mean_score")),
            ("Prevalence", by_slice("prevalence")),
        ], keys=[("slice", "Slice")], unit="percentunit", decimals=1, h=14, sort=("Sensitivity", False),
            overrides=[named("Positive", decimals=0, unit="none")])

    d.row("Are the groups served with equal evidence? $output")
    d.bars("Label coverage by slice", "Share of each slice's cases whose truth is known. A group whose truth comes less often is judged on fewer, and other, cases.",
           f'sort({by_slice("label_coverage")})', "{{slice}}", unit="percentunit", decimals=1, minimum=0, maximum=1, h=12)
    d.bars("Observed/expected by slice", "Positive cases over what the scores promise, in each slice: 1 is calibrated, above 1 the risk of the group is underestimated.",
           f'sort_desc({by_slice("observed_expected")})', "{{slice}}", decimals=2, minimum=0, h=12)
    d.bars("Cases by slice", "Predictions of each slice in the window. Below the plan's minimum with truth nothing is shown of a slice.",
           f'sort_desc({by_slice("predictions")})', "{{slice}}", unit="short", decimals=0, minimum=0, h=12)
    return d
