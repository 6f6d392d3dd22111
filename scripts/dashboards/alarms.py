"""The alarm engine: sealed evidence, what is well, and the budget of false alarms."""

from grafana import GREEN, Dashboard, steps

OUTPUT = 'model="$model",version="$version",output="$output"'
VERSION = 'model="$model",version="$version"'


def make():
    d = Dashboard("alarms", "Alarm budget",
                  "Sealed evidence against its thresholds, what \"well\" is, and how much of the budget of false alarms was spent.")
    d.prometheus()
    d.variable("model", "Model", "The monitored model.", "label_values(dosimeter_stream_watched, model)")
    d.variable("version", "Version", "The release of the model; the newest comes first.",
               'label_values(dosimeter_stream_watched{model="$model"}, version)', sort=8)
    d.variable("output", "Output", "The output.", 'label_values(dosimeter_stream_watched{model="$model",version="$version"}, output)')
    d.alert_marks()

    d.row("The budget of the whole deployment")
    for tier, word in [("page", "Pages"), ("ticket", "Tickets")]:
        raised, allowed = (f'max(dosimeter_alarms_{what}{{tier="{tier}"}})' for what in ("raised_365d", "allowed_per_year"))
        d.stat(f"{word} raised in 365 days", "True or false. The budget bounds the false ones.", raised, decimals=0, w=4, h=5)
        d.stat(f"False {word.lower()} allowed a year", "What the plan allows of the whole deployment, shared out over the streams.", allowed,
               decimals=1, w=4, h=5)
        d.stat(f"{word} beyond the budget", """Raised over allowed. Above 1 more was raised than false alarms are allowed: either there was real decay, which
            is what alarms are for, or a null value is wrong. Read the alarms before changing the budget.""", f"{raised} / {allowed}",
               unit="percentunit", decimals=0, thresholds=steps(GREEN, (1, "orange")), w=4, h=5)

    d.row("Evidence: $output")
    share = "dosimeter_evidence{{{0}}} / dosimeter_evidence_threshold{{{0}}}"
    for tier in ("page", "ticket"):
        d.lines(f"Evidence as a part of the alarm's, {tier}s", """At 1 (grey line) there is an alarm; the evidence then starts anew. It can multiply in a day,
            and falls slowly where the days speak for the model.""", [("{{watch}}, {{slice}}", share.format(f'{OUTPUT},tier="{tier}"'))],
                unit="percentunit", decimals=1, minimum=0, line_at=1, w=12, h=9)
    d.lines("What is still well", """The null value that a stream bets against, in the measure's own terms: from the reference with its uncertainty, or the
        contract of the plan.""", [("{{watch}}, {{slice}}, {{days}}", f"dosimeter_stream_limit{{{OUTPUT}}}")], decimals=4, w=12)
    d.lines("Open alerts of the model", "Alerts by rule and by the state that people read.",
            [("{{rule}}, {{state}}", 'sum by (rule, state) (dosimeter_alerts{model="$model"})')], decimals=0, minimum=0, w=12)

    d.row("Nearest to an alarm, all models")
    d.table("Streams by evidence", "The twenty streams that have gathered the greatest part of what raises an alarm. Watched ones have enough evidence together to be worth a look.", [
        ("Part of an alarm", f"topk(20, {share.format('')})"),
    ], keys=[("model", "Model"), ("version", "Version"), ("watch", "Watch"), ("output", "Output"), ("slice", "Slice"), ("tier", "Tier")],
            unit="percentunit", decimals=2, w=24, h=10, sort=("Part of an alarm", True))

    d.row("What the evidence rests on")
    d.lines("Age of the last sealed day", """Days are sealed once they are over and as old as the maturity says. An age that grows past the maturity and a day
        is a job that does not seal, or summaries that wait.""",
            [("maturity {{maturity}}, truth {{with_truth}}", f"time() - dosimeter_sealed_until_timestamp_seconds{{{VERSION}}}")], unit="s",
            decimals=0, minimum=0, w=12)
    d.lines("Streams under watch", "1 while a stream is watched; 0 while it lacks something, such as a reference or enough cases. `dosimeter streams` says what.",
            [("{{watch}}, {{output}}, {{slice}}", f"dosimeter_stream_watched{{{VERSION}}}")], decimals=0, minimum=0, maximum=1, w=12)
    d.lines("Listed as watched", """1 while a stream is listed: by all evidence together it is worth a look, and nobody is told. Of those listed a
        tenth are there in error, as the plan says.""",
            [("{{watch}}, {{output}}, {{slice}}", f"dosimeter_stream_listed{{{VERSION}}}")], decimals=0, minimum=0, maximum=1, w=24)
    return d
