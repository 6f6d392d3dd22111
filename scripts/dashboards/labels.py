"""Labels: does the truth come, how soon, and do its sources agree?"""

from grafana import BLUE, GREEN, PLACE, Dashboard, fixed, hatched, named, steps

MODEL = 'model="$model",version="$version",slice="all",window="$window"'


def make():
    d = Dashboard("labels", "Labels", "Coverage, delay and agreement of the truth that every performance number rests on.")
    d.prometheus().places("dosimeter_labelled", "dosimeter_labelled").alert_marks()
    head(d)
    coverage(d)
    delay(d)
    agreement(d)
    return d


def head(d):
    d.stat("With truth", "Cases of the output and slice in the window whose truth is known: what performance is measured on.",
           f"max(dosimeter_labelled{{{PLACE}}})", unit="short", w=4)
    d.stat("Positive", "Those of them that are positive. AUROC and sensitivity are as uncertain as these are few.",
           f"max(dosimeter_positives{{{PLACE}}}) or on() max(dosimeter_labelled{{{PLACE}}}) * 0", unit="short", w=4)
    d.stat("Coverage", "Share of the predictions in the window whose truth is known.", f"max(dosimeter_label_coverage{{{PLACE}}})",
           unit="percentunit", decimals=1, w=4)
    d.stat("Median delay", "Half of the labels in the window came within this time of their prediction.",
           f"max(dosimeter_label_delay_p50_seconds{{{PLACE}}})", unit="s", decimals=1, w=4)
    d.stat("Slow delay", "Nine in ten of the labels came within this time.", f"max(dosimeter_label_delay_p90_seconds{{{PLACE}}})",
           unit="s", decimals=1, w=4)
    d.stat("Rules on truth that are broken", """Rules of `[model.health]` about truth that are broken now: no truth, coverage, delay. `dosimeter health` gives
        the reason and what is usual.""",
           'sum(max without (instance) (dosimeter_health{model="$model",rule=~"no_truth|coverage|delay"})) or on() vector(0)', decimals=0,
           thresholds=steps(GREEN, (1, "red")), w=4)


def coverage(d):
    here = 'model="$model",version="$version",output="$output"'
    predictions, labelled = (f"max by (age) (dosimeter_day_{what}{{{here}}})" for what in ("predictions", "labelled"))
    provisional = f"max by (age) (dosimeter_day_provisional{{{here}}})"
    d.row("Coverage: $output, window $window")
    d.estimate("Label coverage", "Share of the predictions in the window whose truth is known, with its 95 % interval. Performance is measured on these cases only.",
               "label_coverage", "label coverage", unit="percentunit", decimals=1, minimum=0, maximum=1, w=8)
    d.lines("Cases in the window", """Predictions in the window and those whose truth is known. A fall of the first is an interruption upstream; a fall of
        the second alone is an interruption of the labels.""", [
            ("predictions", f"max(dosimeter_predictions{{{PLACE}}})"), ("with truth", f"max(dosimeter_labelled{{{PLACE}}})"),
        ], unit="short", decimals=0, minimum=0, w=8)
    d.lines("Coverage of every output", "Label coverage of each thing the model says. One that leaves the others has lost a source of its own.",
            [("{{output}}", f"max by (output) (dosimeter_label_coverage{{{MODEL}}})")], unit="percentunit", decimals=1, minimum=0, maximum=1,
            w=8)
    d.table("The last 14 days", """Predictions of each day by its age, those whose truth is known, and whether the day is provisional (1): younger than the
        delay within which nine tenths of the labels come. Truth that stays away on settled days is missing; on provisional ones it may
        still come.""", [
            ("Predictions", predictions), ("With truth", labelled), ("Coverage", f"{labelled} / ({predictions} > 0)"),
            ("Provisional", provisional),
        ], keys=[("age", "Days ago")], decimals=0, w=12, h=12, sort=("Days ago", False), overrides=[
            named("Coverage", unit="percentunit", decimals=1),
            named("Provisional", custom__cellOptions={"type": "color-text"}, thresholds=steps("text", (1, "#8e8e8e")),
                  mappings=[{"type": "value", "options": {"0": {"text": "settled", "index": 0}, "1": {"text": "provisional", "index": 1}}}]),
        ])
    d.bars("Truth by age of the day", "How the truth of a day fills up: coverage of each of the last days, the youngest first. A step that moves to the right is a delay that grows.",
           f"{labelled} / ({predictions} > 0)", "{{age}} days ago", unit="percentunit", decimals=0, minimum=0, maximum=1, w=12, h=12)


def delay(d):
    d.row("Delay: $output, window $window")
    d.lines("Label delay", """Time from prediction to truth, for the cases in the window whose truth is known: half of the labels arrive within the median,
        nine in ten within the 90th percentile. Recent windows lack their slow labels, so the delay reads short there.""", [
            ("median", f"max(dosimeter_label_delay_p50_seconds{{{PLACE}}})"),
            ("90th percentile", f"max(dosimeter_label_delay_p90_seconds{{{PLACE}}})"),
        ], unit="s", decimals=1, minimum=0, w=12, overrides=[named("median", color=fixed(BLUE)), hatched("90th percentile")])
    d.lines("Slow delay of every output", "The time within which nine in ten of the labels of each output came.",
            [("{{output}}", f"max by (output) (dosimeter_label_delay_p90_seconds{{{MODEL}}})")], unit="s", decimals=1, minimum=0, w=12)


def agreement(d):
    d.row("Agreement of the readers, window $window")
    d.lines("Agreement beyond chance", """How the readers of a finding agree beyond chance. AC1 does not collapse when nearly all cases are negative; alpha
        does. Only cases with two readers count. What the readers do not agree on, no model can be measured on.""", [
            ("{{output}} AC1", f"max by (output) (dosimeter_gwet_ac1{{{MODEL}}})"),
            ("{{output}} alpha", f"max by (output) (dosimeter_krippendorff_alpha{{{MODEL}}})"),
        ], decimals=2, maximum=1, w=8, h=9)
    d.lines("Pairs that agree", "Mean share of a case's pairs of readers that say the same.",
            [("{{output}}", f"max by (output) (dosimeter_reader_agreement{{{MODEL}}})")], unit="percentunit", decimals=1, maximum=1, w=8, h=9)
    d.lines("Cases read twice", "Cases that more than one reader has read: what agreement rests on.",
            [("{{output}}", f"max by (output) (dosimeter_read_twice{{{MODEL}}})")], unit="short", decimals=0, minimum=0, w=8, h=9)
    d.row("Where truth comes in")
    d.lines("Statements of truth taken in", "Assertions per second by source and outcome. Duplicates change nothing; rejected ones are kept with their reason.",
            [("{{source}} {{outcome}}", 'sum by (source, outcome) (max without (instance) (rate(dosimeter_records_total{kind="assertion"}[$__rate_interval])))')],
            unit="rps", minimum=0, w=12)
    d.lines("Time since truth last came", "How long ago each source of truth last brought something new. What is normal depends on the source.",
            [("{{source}}", 'time() - max by (source) (dosimeter_source_last_progress_timestamp_seconds and on(source) dosimeter_records_total{kind="assertion"})')],
            unit="s", decimals=0, minimum=0, w=12)
