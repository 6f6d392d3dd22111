"""Model health: one output, slice and window of one version, with what it is compared with."""

from grafana import BLUE, GREEN, PLACE, RED, Dashboard, band, dashed, fixed, hatched, link_to, named, steps

THRESHOLD = 'threshold=~"$threshold"'


def make():
    d = Dashboard("model", "Model health",
                  "The latest numbers of a model that states probabilities, each with its interval and its reference.")
    d.prometheus().places("dosimeter_mean_score", "dosimeter_mean_score")
    d.variable("threshold", "Threshold", "The operating points: a case is flagged when its score is at or above.",
               'label_values(dosimeter_alert_rate{model="$model",version="$version",output="$output"}, threshold)',
               sort=3, multi=True)
    d.alert_marks()
    head(d)
    outputs(d)
    alerts(d)
    maturity(d)
    discrimination(d)
    operating_point(d)
    calibration(d)
    return d


def head(d):
    of_window = 'model="$model",version="$version",window="$window"'
    d.stat("Window ends", """The instant at which the window of every number on this page ends. Time on the x axes is the time of the
        scrape; the value drawn there describes the window that ends here. It moves once a day, when a day is complete.""",
           f"max(dosimeter_window_end_timestamp_seconds{{{of_window}}}) * 1000", unit="dateTimeAsIso", w=5)
    d.stat("Computed", """How long ago the estimates of this window were last computed. Late truth recomputes them, so this can be
        younger than the end of the window.""",
           f"time() - max(dosimeter_estimated_timestamp_seconds{{{of_window}}})", unit="s", decimals=0)
    d.stat("Predictions", "Predictions of the output and slice in the window.", f"max(dosimeter_predictions{{{PLACE}}})", unit="short")
    d.stat("Label coverage", """Share of the predictions in the window whose truth is known. Performance is measured on these cases
        only: at low coverage it may describe an untypical part of the cases.""",
           f"max(dosimeter_label_coverage{{{PLACE}}})", unit="percentunit", decimals=1)
    d.stat("AUROC", "Area under the ROC curve in the window. Its interval and its reference are in the panel below.",
           f"max(dosimeter_auroc{{{PLACE}}})", decimals=3)
    d.stat("Alerts firing", """Alert rules of the model that fire now. Acknowledged alerts are not counted here; see the row
        Alerts.""", 'sum(max without (instance) (dosimeter_alerts{model="$model",state="firing"}))', decimals=0,
           thresholds=steps(GREEN, (1, RED)))
    d.stat("Undefined metrics", """Metrics of slice all that have no value in the window, over all outputs. The table in the row
        Alerts names each with its reason.""",
           f"count(dosimeter_undefined{{{of_window}}}) or on() vector(0)", decimals=0, thresholds=steps(GREEN, (1, "yellow")), w=4)


def outputs(d):
    here = 'model="$model",version="$version",slice="$slice",window="$window"'

    def by_output(metric, place=here):
        return f"max by (output) (dosimeter_{metric}{{{place}}})"

    d.row("Outputs of $model $version, slice $slice, window $window")
    d.table("All outputs", """One line for each thing the model says. AUROC is below its reference for certain when its upper bound is;
        observed/expected near 1 means that as many cases are positive as the scores promise. PSI over chance is the score's population
        stability index divided by the value that chance alone exceeds once in twenty: above 1 the scores have moved. A click on an
        output shows it in the panels below.""", [
            ("Predictions", by_output("predictions")), ("With truth", by_output("labelled")), ("Positive", by_output("positives")),
            ("AUROC", by_output("auroc")), ("AUROC lower", by_output("auroc_lower")), ("AUROC upper", by_output("auroc_upper")),
            ("AUROC reference", by_output("reference_auroc", 'model="$model",version="$version",slice="$slice"')),
            ("Average precision", by_output("average_precision")), ("Prevalence", by_output("prevalence")),
            ("Observed/expected", by_output("observed_expected")), ("ECE", by_output("ece")),
            ("PSI over chance", by_output("score_psi") + " / " + by_output("score_psi_null95")),
        ], keys=[("output", "Output")], sort=("Output", False), overrides=[
            *(named(count, decimals=0, unit="none") for count in ("Predictions", "With truth", "Positive")),
            named("Prevalence", unit="percentunit", decimals=1), named("Observed/expected", decimals=2),
            named("PSI over chance", decimals=2, thresholds=steps("text", (1, "orange")), custom__cellOptions={"type": "color-text"}),
            named("Output", links=link_to("model", "Show ${__value.text}", "model", "version", "output=${__value.text}", "slice",
                                          "window")),
        ])


def alerts(d):
    d.row("Alerts and evidence: $output")
    d.stat("Alerts by state", """Alerts of the model in each state. Pending: the limit is passed, but not for long enough yet. Firing:
        on-call staff have been told. Acknowledged: a person has taken it. Silenced, inhibited: a silence or an alert of a wider slice
        keeps it quiet.""", 'sum by (state) (max without (instance) (dosimeter_alerts{model="$model"}))', decimals=0, w=4, h=8,
           text="value_and_name", legend="{{state}}", overrides=[
               named("firing", thresholds=steps(GREEN, (1, RED))), named("pending", thresholds=steps(GREEN, (1, "yellow"))),
               named("acknowledged", thresholds=steps(GREEN, (1, BLUE)))])
    rank = " or ".join(f'{rank} * clamp_max(dosimeter_alerts{{model="$model",state=~"{state}"}}, 1)'
                       for rank, state in [(3, "firing"), (2, "acknowledged|silenced|inhibited"), (1, "pending")])
    d.states("Alert rules over time", """The state of each alert rule at the time of the scrape: quiet, pending, acknowledged or kept
        quiet (silenced, or inhibited by a wider slice), firing. Where a rule has several alerts, the most urgent state is drawn. The red
        lines across all charts are when the alerts that are open now fired.""", f"max by (rule) ({rank})", "{{rule}}",
             [("quiet", GREEN), ("pending", "yellow"), ("acknowledged or kept quiet", BLUE), ("firing", RED)], w=10)
    share = "max by (watch, slice, tier) (dosimeter_evidence{{{0}}}) / max by (watch, slice, tier) (dosimeter_evidence_threshold{{{0}}})"
    d.lines("Evidence as a part of the alarm's", """What each watch has gathered against the output being well, as a part of what raises an
        alarm (grey line): an alarm has gathered it all. It rises by multiplication, so the last stretch is short.""",
            [("{{watch}}, {{slice}}, {{tier}}", share.format('model="$model",version="$version",output="$output"'))],
            unit="percentunit", decimals=1, minimum=0, line_at=1, w=10)
    d.table("Open alerts", """Alerts of the model that are open, with what is told of them and when each fired, or, while it is pending, since
        when its condition has held.""", [("Since", 'max by (rule, output, slice, severity, state) (dosimeter_alert_timestamp_seconds'
                                           '{model="$model",version="$version"}) * 1000')],
            keys=[("rule", "Rule"), ("output", "Output"), ("slice", "Slice"), ("severity", "Severity"), ("state", "State")],
            unit="dateTimeAsIso", decimals=None, w=14, sort=("Since", True))
    d.table("Undefined metrics", """Metrics of slice all that have no value in the window, with the reason. A metric is withheld rather than
        shown as zero: for example when too few cases have truth, or when every case has the same truth.""", [
            ("Value", 'max by (output, metric, reason) (dosimeter_undefined{model="$model",version="$version",window="$window"}) or on() '
             'label_replace(label_replace(label_replace(vector(1), "output", "(none)", "", ""), "metric", "(none)", "", ""), '
             '"reason", "every metric has a value", "", "")')],
            keys=[("output", "Output"), ("metric", "Metric"), ("reason", "Reason")], decimals=0, w=10, hide_value=True)


def maturity(d):
    here = 'model="$model",version="$version",output="$output"'
    days = f"max by (age) (dosimeter_day_predictions{{{here}}})"
    is_provisional = f"max by (age) (dosimeter_day_provisional{{{here}}})"
    truth = f"max by (age) (dosimeter_day_labelled{{{here}}}) / ({days} > 0)"
    d.row("Maturity: $output, slice all")
    d.bars("Truth of the last 14 days", """Share of each day's predictions whose truth is known, by the day's age. Grey bars are provisional: the
        day is younger than the delay within which nine tenths of the labels come, so more truth is to come, and what is known may be the
        easy cases.""", f"{truth} and on(age) ({is_provisional} == 0)", "{{age}} days ago", unit="percentunit",
           decimals=0, minimum=0, maximum=1, w=9)
    d.bars("Provisional days", "The days whose truth is not all there yet. Numbers that rest on them will still move.",
           f"{truth} and on(age) ({is_provisional} == 1)", "{{age}} days ago, provisional", unit="percentunit",
           decimals=0, minimum=0, maximum=1, w=7, colour="#8e8e8e")
    d.lines("Provisional part of the window", """Cases of the provisional days as a part of all predictions in the window, and the part of the
        window without truth. The first says how much of the number may still move, the second how much of the window it leaves out.""", [
            ("provisional", f"sum({days} * {is_provisional}) / scalar(max(dosimeter_predictions{{{here},slice=\"all\",window=\"$window\"}}))"),
            ("without truth", f"1 - max(dosimeter_label_coverage{{{here},slice=\"all\",window=\"$window\"}})"),
        ], unit="percentunit", decimals=1, minimum=0, overrides=[hatched("provisional"), named("without truth", color=fixed(BLUE))])


def discrimination(d):
    d.row("Discrimination: $output, slice $slice, window $window")
    d.estimate("AUROC", """Probability that a random positive case scores higher than a random negative one: 0.5 is chance, 1 is perfect.
        The band is the 95 % interval. The dashed line is the value on the approved reference; a loss is certain when the whole band lies
        below it.""", "auroc", "AUROC", reference=True, decimals=3, w=12, h=9)
    d.estimate("Average precision", """Area under the precision-recall curve, with its 95 % interval. A model without skill scores the prevalence
        (dotted), so read the distance between the two: average precision falls by itself when the finding becomes rarer.""",
               "average_precision", "average precision", reference=True, decimals=3, minimum=0, w=12, h=9,
               extra=[("prevalence", f"max(dosimeter_prevalence{{{PLACE}}})")], overrides=[hatched("prevalence")])


def operating_point(d):
    d.row("Operating point: $output at threshold $threshold")

    def share(title, description, metric, name):
        d.estimate(title, description, metric, name, more=(THRESHOLD,), unit="percentunit", decimals=1)

    share("Sensitivity", """Share of the positive cases that the model flags at this threshold, with its 95 % interval. What is missing to
        100 % are the missed findings.""", "sensitivity", "sensitivity")
    share("Specificity", """Share of the negative cases that the model leaves unflagged at this threshold, with its 95 % interval. What is
        missing to 100 % are the false alarms.""", "specificity", "specificity")
    share("PPV", """Positive predictive value: share of the flagged cases that are positive, with its 95 % interval. It falls with the
        prevalence, also when the model is unchanged.""", "ppv", "PPV")
    share("NPV", """Negative predictive value: share of the unflagged cases that are negative, with its 95 % interval. It rises as the
        prevalence falls, also when the model is unchanged.""", "npv", "NPV")
    share("Alert rate", """Share of all predictions at or above the threshold, with its 95 % interval, whether or not their truth is known. It
        needs no labels, so it moves at once when the input or the scores change.""", "alert_rate", "alert rate")
    cells = [(name, f"max(dosimeter_{metric}{{{PLACE},{THRESHOLD}}})") for name, metric in [
        ("true positive", "true_positives"), ("false negative", "false_negatives"), ("false positive", "false_positives"),
        ("true negative", "true_negatives")]]
    d.lines("Cases by outcome", """Cases with truth in the window by what the model says at this threshold and what is true. False negatives
        are missed findings, false positives are false alarms.""", cells, unit="short", decimals=0, minimum=0, overrides=[
            named("true positive", color=fixed(GREEN)), named("false negative", color=fixed(RED)),
            named("false positive", color=fixed("orange")), named("true negative", color=fixed("#8e8e8e"))])


def calibration(d):
    d.row("Calibration: $output, slice $slice, window $window")
    d.estimate("Observed/expected", """Positive cases divided by the sum of the scores, with its 95 % interval. 1 (grey line) means that as many
        cases are positive as the scores promise; above 1 the model underestimates the risk, below 1 it overestimates it. The dashed line
        is the approved reference.""", "observed_expected", "observed/expected", reference=True, decimals=2, line_at=1, soft=(0.8, 1.2))
    d.estimate("Calibration intercept", """Intercept of the logistic recalibration with the slope held at 1, with its 95 % interval. 0 (grey
        line) is well calibrated in the large; above 0 the scores are too low, below 0 too high.""", "calibration_intercept",
               "intercept", decimals=2, line_at=0, soft=(-0.5, 0.5))
    d.estimate("Calibration slope", """Slope of the logistic recalibration, with its 95 % interval. 1 (grey line) is well calibrated; below 1
        the scores are too extreme, above 1 too cautious.""", "calibration_slope", "slope", decimals=2, line_at=1, soft=(0.5, 1.5))
    d.estimate("Brier score", """Mean squared distance between score and truth, with its 95 % interval: 0 is perfect, lower is better. It mixes
        discrimination, calibration and prevalence, so compare it with its reference (dashed) and not between outputs.""", "brier",
               "Brier score", reference=True, decimals=4)
    d.estimate("Log loss", """Mean negative logarithm of the probability given to what is true, with its 95 % interval: 0 is perfect, lower is
        better. It punishes confident errors more than the Brier score does.""", "log_loss", "log loss", decimals=4)
    d.lines("Expected calibration error", """Mean distance between score and observed rate over the bins of the score, weighted by cases: 0 is
        perfect, lower is better. It is above 0 in small windows even for a perfectly calibrated model.""",
            [("ECE", f"max(dosimeter_ece{{{PLACE}}})")], decimals=4, minimum=0, overrides=[named("ECE", color=fixed(BLUE))])
    d.row("Means over the outputs, slice all, window $window")
    d.estimate("Macro AUROC", """Mean AUROC of all outputs. The interval takes their errors as fully correlated, so it is an upper bound.
        Undefined while one output has no value.""", "macro_auroc", "mean",
               place='model="$model",version="$version",slice="all",window="$window"', decimals=3, w=12)
    d.lines("Mean score and prevalence", """Mean of the scores with its 95 % interval, the share of positive cases among those with truth, and the
        prevalence of the approved reference (dashed). Scores that move while the prevalence stands still point to the input or the model;
        both moving together points to other patients.""", [
            ("mean score", f"max(dosimeter_mean_score{{{PLACE}}})"),
            ("95 % lower", f"max(dosimeter_mean_score_lower{{{PLACE}}})"),
            ("95 % upper", f"max(dosimeter_mean_score_upper{{{PLACE}}})"),
            ("prevalence, reference",
             'max(dosimeter_reference_prevalence{model="$model",version="$version",output="$output",slice="$slice"})'),
            ("prevalence", f"max(dosimeter_prevalence{{{PLACE}}})"),
        ], unit="percentunit", decimals=1, w=12, overrides=[
            named("mean score", color=fixed(BLUE)), *band("95 % lower", "95 % upper"),
            dashed("prevalence, reference"), named("prevalence", color=fixed("orange"))])
