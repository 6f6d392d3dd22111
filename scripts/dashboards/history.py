"""History: what was published and decided, for as long as the database keeps it; Prometheus forgets after its retention.

The statements read the views `history_*` of migrations/, which a role may read that may read nothing else (docs/dashboards.md).
"""

from grafana import BLUE, GREEN, RED, Dashboard, band, dashed, fixed, hatched, named

MODEL = "model = ${model:sqlstring}"
VERSION = MODEL + " and version = ${version:sqlstring}"
OUTPUT = VERSION + " and output = ${output:sqlstring}"
SLICE = OUTPUT + " and slice = ${slice:sqlstring}"
PLACE = SLICE + " and window_name = ${window:sqlstring}"
# The name of a metric, and what it is measured at, of, or for.
OF = "coalesce(m.one->0->>'threshold', m.one->0->>'dimension', m.one->0->>'class', '-')"
IS_CHOSEN = f"m.one->0->>'name' = ${{metric:sqlstring}} and {OF} = ${{parameter:sqlstring}}"


def published(columns, which="desc", place=PLACE, where=IS_CHOSEN, order=None):
    """The metrics of the windows that end in the time range, each as published last (`desc`) or first (`asc`)."""
    return f"""
select {columns}
from (select distinct on (window_to) window_to, estimated_at, metrics from history_estimate
      where {place} and $__timeFilter(window_to) order by window_to, estimate_id {which}) e
cross join lateral jsonb_array_elements(e.metrics) as m (one)
where {where} order by {order or "window_to"}"""


def number(path):
    return f"(m.one#>>'{{1,Ok,{path}}}')::double precision"


def make():
    d = Dashboard("history", "History", "Years of published estimates, evidence and alerts, from the database.", tags=("history",),
                  time="now-1y", refresh="5m")
    d.postgres()
    d.variable("model", "Model", "The monitored model.", "select distinct model from history_version order by 1")
    d.variable("version", "Version", "The release of the model; the newest comes first.",
               f"select version from history_version where {MODEL} order by first_seen_at desc, 1 desc")
    def latest(column):
        return f"select distinct {column} from history_current where {VERSION}"

    d.variable("output", "Output", "What the model says, or another quantity.",
               f"select output from history_current where {VERSION} group by output order by output like '(%', output")
    d.variable("slice", "Slice", "A part of the cases; all is the slice of everything.",
               latest("slice") + " and output = ${output:sqlstring} order by 1", preferred="all")
    d.variable("window", "Window", "The run of days that every number is computed over.",
               latest("window_name") + " and output = ${output:sqlstring} order by 1", preferred="30d")
    def metrics(column):
        return (f"select distinct {column} from history_current cross join lateral jsonb_array_elements(metrics) as m (one) "
                f"where {OUTPUT} and slice = 'all'")

    d.variable("metric", "Metric", "The metric, by the name of docs/metrics.md.", metrics("m.one->0->>'name'") + " order by 1",
               preferred="auroc")
    d.variable("parameter", "Of", "The operating point, dimension or class that the metric is of; - where it has none.",
               metrics(OF) + " and m.one->0->>'name' = ${metric:sqlstring} order by 1", preferred="-")
    d.alert_events(f"""select at as time, rule || ', ' || output || ', ' || slice as text, severity as tags
from history_alert_event where {VERSION} and transition = 'fired' and $__timeFilter(at) order by at""")
    estimates(d)
    knowledge(d)
    evidence(d)
    alerts(d)
    return d


def estimates(d):
    d.row("$metric of $output, slice $slice, window $window")
    series = published(f"window_to as time, {number('value')} as \"value\", {number('interval,lower')} as \"95 % lower\", "
                       f"{number('interval,upper')} as \"95 % upper\"", where=IS_CHOSEN + " and m.one->1 ? 'Ok'")
    reference = published(f"window_to as time, {number('value')} as \"reference\"", where=(
        "m.one->0->>'name' = 'reference_' || ${metric:sqlstring} and m.one->1 ? 'Ok'"))
    d.lines("As published last", """The metric of each window, at the window's end, as it was published last, with its 95 % interval and the approved
        reference of that time (dashed). Red lines are alerts of the version that fired.""", [("value", series), ("reference", reference)],
            decimals=4, w=16, h=10, overrides=[named("value", color=fixed(BLUE)), *band("95 % lower", "95 % upper"), dashed("reference")])
    counts = published(f"window_to as time, {number('n')} as \"cases\", {number('positives')} as \"positive\"",
                       where=IS_CHOSEN + " and m.one->1 ? 'Ok'")
    d.lines("What it rests on", "Cases behind each value, and the positive ones among them where truth matters.", [("cases", counts)], unit="short",
            decimals=0, minimum=0, h=10)
    d.table("Windows without a value", "Windows in the time range in which the metric has no value, with the reason: undefined is a reason, never a number.", [
        ("Reason", published("to_char(window_to at time zone 'UTC', 'YYYY-MM-DD') as \"Window ends\", m.one#>>'{1,Err,code}' as \"Reason\"",
                             where=IS_CHOSEN + " and m.one->1 ? 'Err'", order="window_to desc limit 500"))], keys=[], w=8, decimals=None)
    every = f"m.one->0->>'name' = ${{metric:sqlstring}} and {OF} = ${{parameter:sqlstring}} and m.one->1 ? 'Ok'"
    slices = f"""
select slice as "Slice", {number('value')} as "Value", {number('interval,lower')} as "Lower", {number('interval,upper')} as "Upper",
    {number('n')} as "Cases", window_to as "Window ends"
from (select distinct on (slice) slice, window_to, metrics from history_estimate
      where {OUTPUT} and window_name = ${{window:sqlstring}} and window_to between $__timeTo()::timestamptz - interval '32 days' and $__timeTo()
      order by slice, window_to desc, estimate_id desc) e
cross join lateral jsonb_array_elements(e.metrics) as m (one)
where {every} order by 2"""
    d.table("Slices at the end of the time range", "The metric of every slice in the last window that ends in the time range, lowest first.",
            [("Value", slices)], keys=[], w=16, decimals=4, overrides=[named("Cases", decimals=0), named("Window ends", unit="dateTimeAsIso")])


def knowledge(d):
    d.row("What was known when")
    first = published(f"window_to as time, {number('value')} as \"as published first\"", "asc", where=IS_CHOSEN + " and m.one->1 ? 'Ok'")
    last = published(f"window_to as time, {number('value')} as \"as published last\"", where=IS_CHOSEN + " and m.one->1 ? 'Ok'")
    d.lines("First and last knowledge", """The same windows as they were published first, when labels were still to come, and last. Where the two part, late or revised labels
        moved the number; `dosimeter diff` names them.""", [("as published last", last), ("as published first", first)], decimals=4, w=12,
            overrides=[named("as published last", color=fixed(BLUE)), hatched("as published first")])
    republished = f"""
select date_trunc('day', estimated_at, 'UTC') as time, count(*)::double precision as "estimates"
from history_estimate where {PLACE} and $__timeFilter(estimated_at) group by 1 order by 1"""
    d.lines("Estimates a day", "How often the estimate was published anew each day: new cases and late truth change its inputs, and nothing else does.",
            [("estimates", republished)], decimals=0, minimum=0, bars=True, w=6)
    days = f"""
select day as time, predictions::double precision as "predictions", labelled::double precision as "with truth"
from history_day where {SLICE} and $__timeFilter(day) order by day"""
    d.lines("Days: predictions and truth", "Predictions of each day and those whose truth is known today.", [("days", days)], unit="short", decimals=0,
            minimum=0, w=6)


def evidence(d):
    d.row("Evidence and alarms: $output")
    share = f"""
select day as time, watch || ', ' || slice || ', ' || tier as metric, evidence / nullif(threshold, 0) as value
from history_evidence where {OUTPUT} and $__timeFilter(day) order by day, 2"""
    d.lines("Evidence as a part of the alarm's", "What each sealed day made of the evidence of each stream; at 1 (grey line) there is an alarm, and it starts anew.",
            [("evidence", share)], unit="percentunit", decimals=1, minimum=0, line_at=1, w=16, h=9)
    alarms = """
select date_trunc('month', looked_at, 'UTC') as time, tier as metric, count(*) filter (where alarms)::double precision as value
from history_evidence where $__timeFilter(looked_at) and tier in ('page', 'ticket') group by 1, 2 order by 1, 2"""
    d.lines("Alarms a month, all models", "Alarms of the engine by tier, true and false. The plan's budget bounds the false ones in a year.", [("alarms", alarms)],
            decimals=0, minimum=0, bars=True, stacked=True, h=9, overrides=[named("page", color=fixed(RED)), named("ticket", color=fixed("orange"))])


def alerts(d):
    d.row("Alerts of $model")
    steps = f"""
select at as "At", alert_id as "Alert", rule as "Rule", output as "Output", slice as "Slice", severity as "Severity", transition as "What",
    state as "State", actor as "Who", reason as "Why"
from history_alert_event where {MODEL} and $__timeFilter(at) order by at desc, event_id desc limit 1000"""
    d.table("Transitions and human steps", "Everything that happened to the alerts of the model in the time range, the latest first: the daemon's transitions and decisions, and what people did.",
            [("At", steps)], keys=[], w=16, h=10, decimals=None, overrides=[named("At", unit="dateTimeAsIso"), named("Alert", unit="none", decimals=0)])
    fired = f"""
select date_trunc('week', at, 'UTC') as time, severity as metric, count(*)::double precision as value
from history_alert_event where {MODEL} and transition = 'fired' and $__timeFilter(at) group by 1, 2 order by 1, 2"""
    d.lines("Alerts that fired, by week", "How often people were called, by severity.", [("fired", fired)], decimals=0, minimum=0, bars=True, stacked=True,
            h=10, overrides=[named("page", color=fixed(RED)), named("ticket", color=fixed("orange"))])
    answer = f"""
select date_trunc('month', fired_at, 'UTC') as time,
    percentile_cont(0.5) within group (order by extract(epoch from answered_at - fired_at)) as "median",
    max(extract(epoch from answered_at - fired_at))::double precision as "slowest"
from (select alert_id, min(at) filter (where transition = 'fired') as fired_at,
        min(at) filter (where transition in ('acknowledged', 'resolved')) as answered_at
      from history_alert_event where {MODEL} group by alert_id) a
where answered_at >= fired_at and $__timeFilter(fired_at) group by 1 order by 1"""
    d.lines("Time until somebody answered", "From firing to the first acknowledgement or resolution, of the alerts of each month that were answered.",
            [("median", answer)], unit="s", decimals=0, minimum=0, points=True, w=24, overrides=[
                named("median", color=fixed(GREEN)), named("slowest", color=fixed("orange"))])
