"""Fleet overview: which of my models is ill, since when, and where?"""

from grafana import GREEN, RED, Dashboard, named, steps

ALL = 'slice="all",window="$window"'
KEYS = [("model", "Model"), ("version", "Version"), ("output", "Output")]


def by_output(metric, place=ALL):
    return f"max by (model, version, output) (dosimeter_{metric}{{{place}}})"


def make():
    d = Dashboard("fleet", "Fleet", "All models at one sight: what is ill, what has no data, what is nearest to an alarm.")
    d.prometheus()
    d.variable("window", "Window", "The run of days that every number is computed over.", "label_values(dosimeter_predictions, window)",
               sort=8, preferred="30d")

    d.stat("Models", "Models with estimates.", "count(count by (model) (dosimeter_predictions))", decimals=0)
    d.stat("Versions", "Releases of models with estimates.", "count(count by (model, version) (dosimeter_predictions))", decimals=0)
    d.stat("Streams under watch", "Measures of one output in one slice that the alarm engine follows.", "sum(dosimeter_stream_watched)", decimals=0)
    d.stat("Alerts firing", "Alerts that fire and that nobody has taken up yet.",
           'sum(max without (instance) (dosimeter_alerts{state="firing"}))', decimals=0, thresholds=steps(GREEN, (1, RED)))
    d.stat("Taken up or quiet", "Alerts that a person has acknowledged, or that a silence or a wider alert keeps quiet.",
           'sum(max without (instance) (dosimeter_alerts{state=~"acknowledged|silenced|inhibited"}))', decimals=0,
           thresholds=steps(GREEN, (1, "blue")))
    d.stat("Models with broken data", "Models of whose data a rule is broken: it does not come, or not whole. `dosimeter health` gives the reason.",
           "count(max by (model) (dosimeter_health) == 1) or on() vector(0)", decimals=0, thresholds=steps(GREEN, (1, RED)))
    surely = f"{by_output('auroc_upper')} < {by_output('reference_auroc', 'slice=' + chr(34) + 'all' + chr(34))}"
    d.stat("Surely worse than the reference", "Outputs whose AUROC lies below the reference with its whole 95 % interval. One in forty is so by chance; alarms are held to the budget instead.",
           f"count({surely}) or on() vector(0)", decimals=0, thresholds=steps(GREEN, (1, "orange")))
    d.stat("Daemon", "Seconds since a whole pass of the daemon last succeeded. Old: every number here is.",
           "time() - max(dosimeter_heartbeat_timestamp_seconds)", unit="s", decimals=0, thresholds=steps(GREEN, (300, "yellow"), (900, RED)))

    d.row("Every output of every model, window $window")
    evidence = "max by (model, version, output) (dosimeter_evidence / dosimeter_evidence_threshold)"
    firing = 'count by (model, version, output) (dosimeter_alert_timestamp_seconds{state="firing"})'
    model_link = [{"title": "Model health of ${__data.fields.Model}, ${__value.text}", "targetBlank": False,
                   "url": "/d/dosimeter-model?${__url_time_range}&${datasource:queryparam}&var-model=${__data.fields.Model}"
                          "&var-version=${__data.fields.Version}&var-output=${__value.text}&${window:queryparam}"}]
    d.table("Outputs", """One line for each thing that each model says. A loss is certain when the upper end of the interval is below the
        reference. Evidence is the greatest part of what raises an alarm that any watch of the output has gathered, in any slice. A click on
        an output opens its model.""", [
            ("Predictions", by_output("predictions")), ("Label coverage", by_output("label_coverage")), ("AUROC", by_output("auroc")),
            ("AUROC lower", by_output("auroc_lower")), ("AUROC upper", by_output("auroc_upper")),
            ("AUROC reference", by_output("reference_auroc", 'slice="all"')), ("Observed/expected", by_output("observed_expected")),
            ("Scores over chance", f"{by_output('score_psi')} / {by_output('score_psi_null95')}"), ("Evidence", evidence),
            ("Alerts firing", firing),
        ], keys=KEYS, h=14, sort=("Evidence", True), overrides=[
            named("Predictions", decimals=0, unit="short"), named("Label coverage", unit="percentunit", decimals=1),
            named("Observed/expected", decimals=2),
            named("Scores over chance", decimals=2, thresholds=steps("text", (1, "orange")), custom__cellOptions={"type": "color-text"}),
            named("Evidence", unit="percentunit", decimals=1, thresholds=steps("text", (0.5, "orange"), (1, RED)),
                  custom__cellOptions={"type": "color-text"}),
            named("Alerts firing", decimals=0, thresholds=steps("text", (1, RED)), custom__cellOptions={"type": "color-text"}),
            named("Output", links=model_link),
        ])

    d.row("Alerts")
    d.table("Open alerts", "Alerts that are open, the newest first, with when each fired, or, while it is pending, since when its condition has held.", [
        ("Since", "max by (model, version, rule, output, slice, severity, state) (dosimeter_alert_timestamp_seconds) * 1000"),
    ], keys=[("model", "Model"), ("version", "Version"), ("rule", "Rule"), ("output", "Output"), ("slice", "Slice"), ("severity", "Severity"),
             ("state", "State")], unit="dateTimeAsIso", decimals=None, w=14, h=9, sort=("Since", True))
    rank = " or ".join(f'{rank} * clamp_max(dosimeter_alerts{{state=~"{state}"}}, 1)'
                       for rank, state in [(3, "firing"), (2, "acknowledged|silenced|inhibited"), (1, "pending")])
    d.states("Models over time", "The most urgent alert of each model at the time of the scrape.", f"max by (model) ({rank})", "{{model}}",
             [("quiet", GREEN), ("pending", "yellow"), ("acknowledged or kept quiet", "blue"), ("firing", RED)], w=10, h=9)

    d.row("Where to look next")
    d.bars("Nearest to an alarm", "The ten outputs that have gathered the greatest part of what raises an alarm.", f"topk(10, {evidence})",
           "{{model}}, {{output}}", unit="percentunit", decimals=1, minimum=0, maximum=1, h=10)
    loss = f"{by_output('reference_auroc', 'slice=' + chr(34) + 'all' + chr(34))} - {by_output('auroc')}"
    d.bars("Greatest loss of AUROC", "Reference less present value, of the ten outputs that lost most. Small losses are chance: the table above has the intervals.",
           f"topk(10, {loss})", "{{model}}, {{output}}", decimals=3, h=10, colour="orange")
    d.bars("Least covered by truth", "The ten outputs whose truth is known of the smallest share.", f"bottomk(10, {by_output('label_coverage')})",
           "{{model}}, {{output}}", unit="percentunit", decimals=1, minimum=0, maximum=1, h=10)

    d.row("Data")
    d.table("Rules on data", "Rules on the data of each model that can be judged: 1 is broken, 0 is kept. `dosimeter health` gives the reason, what is usual and what to look at.",
            [("Broken", "max by (model, rule) (dosimeter_health)")], keys=[("model", "Model"), ("rule", "Rule")], decimals=0, w=8, h=9,
            sort=("Broken", True), overrides=[named("Broken", thresholds=steps("text", (1, RED)), custom__cellOptions={"type": "color-text"})])
    d.lines("Predictions by model", "Predictions of each model in the window, of its most frequent output. One that falls is a model that falls silent.",
            [("{{model}} {{version}}", f"max by (model, version) (dosimeter_predictions{{{ALL}}})")], unit="short", decimals=0, minimum=0, w=8, h=9)
    d.lines("Label coverage by model", "The least coverage of an output of each model.",
            [("{{model}} {{version}}", f"min by (model, version) (dosimeter_label_coverage{{{ALL}}})")], unit="percentunit", decimals=1, minimum=0,
            maximum=1, w=8, h=9)
    return d
