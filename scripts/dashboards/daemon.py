"""The daemon: does it run, take records in, tell people, and keep what it promises to an auditor?"""

from grafana import GREEN, RED, Dashboard, fixed, named, steps

# One line where there is nothing to show, so that a panel never looks broken while all is well.
NO_SOURCE = 'or on() label_replace(vector(0), "source", "none", "", "")'
NO_REASON = 'or on() label_replace(label_replace(vector(0), "reason", "none", "", ""), "source", "any source", "", "")'


def make():
    d = Dashboard("daemon", "Daemon", "The daemon itself: jobs, intake, notices, HTTP, and what it exports.", tags=("daemon",))
    d.prometheus()
    head(d)
    jobs(d)
    intake(d)
    notices(d)
    http(d)
    record(d)
    export(d)
    return d


def head(d):
    d.stat("Version", "The release of dosimeter that runs.", "max by (version) (dosimeter_build_info)", text="name", legend="{{version}}")
    d.stat("Running for", "Time since the daemon started. A short time that keeps returning means that it restarts.",
           "time() - max(dosimeter_start_timestamp_seconds)", unit="s", decimals=0)
    d.stat("Last whole pass", "Time since a whole pass, from ingest to publish, last succeeded.",
           "time() - max(dosimeter_heartbeat_timestamp_seconds)", unit="s", decimals=0, thresholds=steps(GREEN, (300, "yellow"), (900, RED)))
    d.stat("Snapshot age", "Age of the snapshot behind the metrics page. The job publish renews it each tick; an old snapshot means that every number on all dashboards is old.",
           "time() - max(dosimeter_snapshot_timestamp_seconds)", unit="s", decimals=0, thresholds=steps(GREEN, (120, "yellow"), (600, RED)))
    d.stat("Files waiting", "Files that the sources have found and not yet read to the end.",
           "sum(max without (instance) (dosimeter_source_files_pending))", decimals=0, thresholds=steps(GREEN, (100, "yellow")))
    d.stat("Dirty buckets", "Days of data that have changed and wait to be folded again. A short rise after new data or late truth is normal.",
           "sum(max without (instance) (dosimeter_dirty_buckets))", decimals=0)
    d.stat("Outbox", "Notices that are decided and not yet delivered.", "sum(max without (instance) (dosimeter_outbox_pending))", decimals=0,
           thresholds=steps(GREEN, (1, "yellow"), (10, RED)))
    d.stat("Database", "Disk that the database takes.", "max(dosimeter_database_bytes)", unit="bytes", decimals=1)


def jobs(d):
    d.row("Jobs")
    d.lines("Job runs by outcome", """Runs per second of all jobs by outcome. Done: there was work. Idle: there was none. Failed: the run ended with an error and
        its next tick is its retry; any lasting red needs a look at the log.""",
            [("{{outcome}}", "sum by (outcome) (rate(dosimeter_job_runs_total[$__rate_interval]))")], unit="ops", minimum=0, bars=True, stacked=True,
            overrides=[named("done", color=fixed(GREEN)), named("idle", color=fixed("#8e8e8e")), named("failed", color=fixed(RED))])
    d.lines("Failed runs by job", "Failed runs per second of each job. Zero is healthy.",
            [("{{task}}", 'sum by (task) (rate(dosimeter_job_runs_total{outcome="failed"}[$__rate_interval]))')], unit="ops", minimum=0)
    d.table("Runs since the start", "Runs of each job by outcome since the daemon started. A job without done has had nothing to do, or has never succeeded: compare with failed.",
            [(word, f'sum by (task) (dosimeter_job_runs_total{{outcome="{word.lower()}"}})') for word in ("Done", "Idle", "Failed")],
            keys=[("task", "Job")], unit="none", decimals=0, w=8, sort=("Job", False), overrides=[
                named("Failed", thresholds=steps("text", (1, RED)), custom__cellOptions={"type": "color-text"})])
    d.lines("Time since last success", "Time since each job last ended without an error, whether done or idle. A line that climbs without falling is a job that stands still.",
            [("{{task}}", "time() - max by (task) (dosimeter_job_last_success_timestamp_seconds)")], unit="s", decimals=0, minimum=0)
    d.lines("Mean time of a run", "Mean time that one run of each job takes, idle runs included.",
            [("{{task}}", "sum by (task) (rate(dosimeter_job_run_seconds_total[$__rate_interval])) / (sum by (task) (rate(dosimeter_job_runs_total[$__rate_interval])) > 0)")],
            unit="s", minimum=0)
    d.lines("Share of time busy", "Share of the time that each job spends running. A job near 100 % has no reserve: its next tick comes before it ends.",
            [("{{task}}", "sum by (task) (rate(dosimeter_job_run_seconds_total[$__rate_interval]))")], unit="percentunit", minimum=0)


def intake(d):
    d.row("Intake")
    d.lines("Records by outcome", "Records per second through intake. Accepted: stored. Duplicate: known already, so nothing changes. Rejected: kept with the reason, not counted in any metric.",
            [("{{outcome}}", "sum by (outcome) (max without (instance) (rate(dosimeter_records_total[$__rate_interval])))")], unit="rps", minimum=0,
            overrides=[named("accepted", color=fixed(GREEN)), named("rejected", color=fixed(RED)), named("duplicate", color=fixed("#8e8e8e"))])
    d.lines("Rejections by reason", "Rejected records per second by source and reason. Zero is healthy; one reason that starts at once usually means that the format upstream has changed.",
            [("{{source}}: {{reason}}", f"sum by (source, reason) (max without (instance) (rate(dosimeter_rejections_total[$__rate_interval]))) {NO_REASON}")],
            unit="rps", minimum=0)
    d.table("Records since the start", "Records of each source by kind and outcome, ever.",
            [("Records", "sum by (source, kind, outcome) (max without (instance) (dosimeter_records_total))")],
            keys=[("source", "Source"), ("kind", "Kind"), ("outcome", "Outcome")], unit="none", decimals=0, w=8, sort=("Source", False))
    d.lines("Source lag", "Time since each source last delivered something new. What is normal depends on the source: a nightly export climbs to a day.",
            [("{{source}}", "time() - max by (source) (dosimeter_source_last_progress_timestamp_seconds)")], unit="s", decimals=0, minimum=0)
    d.lines("Files waiting by source", "Files that each source has found and not yet read to the end. It falls to zero once the daemon has caught up.",
            [("{{source}}", "sum by (source) (max without (instance) (dosimeter_source_files_pending))")], decimals=0, minimum=0)
    d.lines("Dirty buckets by model", "Days of data of each model that have changed and wait to be folded again. A level that never returns to zero means that fold cannot keep up or fails.",
            [("{{model}}", "sum by (model) (max without (instance) (dosimeter_dirty_buckets))")], decimals=0, minimum=0)
    d.lines("Age of the newest record", "How far the latest time that the records of a source state is behind the clock; of sources that are asked.",
            [("{{source}}", f"max by (source) (dosimeter_source_lag_seconds) {NO_SOURCE}")], unit="s", decimals=0, minimum=0)
    d.lines("Failures of sources", "Attempts to read a source that is asked that failed, by reason.",
            [("{{source}}: {{reason}}", f"sum by (source, reason) (max without (instance) (rate(dosimeter_source_failures_total[$__rate_interval]))) {NO_REASON}")],
            unit="rps", minimum=0)
    d.lines("Messages and objects waiting", "What waits in streams and object stores.", [("{{source}}", f"max by (source) (dosimeter_source_pending) {NO_SOURCE}")],
            decimals=0, minimum=0)
    d.table("Rules on data", "Rules on the data of each model that can be judged: 1 is broken, 0 is kept. `dosimeter health` and /api/v1/health give the reason, what is usual and what to look at.",
            [("Broken", "max by (model, rule) (dosimeter_health)")], keys=[("model", "Model"), ("rule", "Rule")], unit="none", decimals=0, w=12,
            sort=("Broken", True), overrides=[named("Broken", thresholds=steps("text", (1, RED)), custom__cellOptions={"type": "color-text"})])
    d.lines("Breaches of the contract", "New predictions per second in which an attribute breaks the contract of the plan. They were taken in.",
            [("{{model}}, {{column}}: {{reason}}", 'sum by (model, column, reason) (rate(dosimeter_contract_breaches_total[$__rate_interval])) '
              'or on() label_replace(label_replace(vector(0), "column", "no attribute", "", ""), "model", "any model", "", "")')], unit="rps", minimum=0,
            w=12)


def notices(d):
    d.row("Notices")
    d.lines("Outbox", "Notices that are decided and not yet delivered, and those that were given up. A failed send stays here and is tried again.", [
        ("waiting", "sum(max without (instance) (dosimeter_outbox_pending))"), ("dead letters", "sum(max without (instance) (dosimeter_outbox_dead))"),
    ], decimals=0, minimum=0)
    d.lines("Oldest waiting notice", "Age of the oldest notice that is not yet delivered; zero when none waits. Minutes point to a server that refuses or cannot be reached.",
            [("oldest", "max(dosimeter_outbox_oldest_seconds)")], unit="s", decimals=0, minimum=0)
    d.lines("Deliveries by route", "Notices delivered, attempts that failed and notices given up, per second.", [
        (f"{{{{route}}}} {word}", f"sum by (route) (max without (instance) (rate(dosimeter_outbox_{family}[$__rate_interval])))")
        for word, family in [("delivered", "sent_total"), ("attempt failed", "attempts_failed_total"), ("given up", "dead_total")]
    ], unit="ops", minimum=0)


def http(d):
    d.row("HTTP")
    d.lines("Requests by status", "Requests per second by class of the answer's status.",
            [("{{status}}", "sum by (status) (rate(dosimeter_http_requests_total[$__rate_interval]))")], unit="reqps", minimum=0, w=6)
    d.lines("Time to answer", "The time within which 99 of 100 requests began to be answered, by route.",
            [("{{route}}", "histogram_quantile(0.99, sum by (le, route) (rate(dosimeter_http_request_seconds_bucket[$__rate_interval])))")], unit="s",
            minimum=0, w=6)
    d.lines("Refused requests", "Requests per second that were refused: unauthorised, forbidden, rate, size, slow.",
            [("{{reason}}", 'sum by (reason) (rate(dosimeter_http_refused_total[$__rate_interval])) or on() label_replace(vector(0), "reason", "none", "", "")')],
            unit="reqps", minimum=0, w=6)
    d.lines("Open connections", "Connections to the HTTP server that are open.", [("connections", "sum(dosimeter_http_connections)")], decimals=0,
            minimum=0, w=6)


def record(d):
    def age(metric):
        known = f'label_replace(time() - max(dosimeter_{metric}_timestamp_seconds), "when", "age", "", "")'
        return f'{known} or on() label_replace(vector(0), "when", "never yet", "", "")'

    d.row("The record")
    d.stat("Rows that do not fit", """Rows that did not fit the chains at the last verification; 0 before the first, too. Any is a matter for whoever answers for the
        record: `dosimeter audit verify --full` names them.""", "max(dosimeter_audit_breaches) or on() vector(0)", decimals=0,
           thresholds=steps(GREEN, (1, RED)), w=6, h=8)
    d.lines("Entries and seals", "Entries of the audit trail, and seals of rows in tables that only grow. Neither ever falls.", [
        ("entries", "max(dosimeter_audit_entries)"), ("seals", "max(dosimeter_audit_seals)"),
    ], unit="short", decimals=0, minimum=0, w=6)
    d.lines("Since the last verification", "Time since every row was last verified, and since past numbers were last made again.", [
        ("verified: {{when}}", age("audit_verified")), ("replayed: {{when}}", age("replay_last")),
    ], unit="s", decimals=0, minimum=0, w=6)
    d.lines("Since the last anchor", "Time since the heads of the chains were last told outside.", [("{{when}}", age("audit_anchored"))], unit="s", decimals=0,
            minimum=0, w=6)


def export(d):
    d.row("Export")
    d.lines("Snapshot age", "Age of the snapshot behind the metrics page at each scrape. A saw-tooth as high as one tick is healthy.",
            [("snapshot age", "time() - max(dosimeter_snapshot_timestamp_seconds)")], unit="s", decimals=0, minimum=0, w=6)
    d.lines("Series exported", "Series on the metrics page. A steep rise means that an attribute with many values has become a dimension.",
            [("series", "sum(dosimeter_series)")], unit="short", decimals=0, minimum=0, w=6)
    d.lines("Size of the database", "Disk that the database takes. It grows with rows until retention removes them, and with history for good.",
            [("database", "max(dosimeter_database_bytes)")], unit="bytes", decimals=1, minimum=0, w=6)
    d.table("Build", "Release and scrape target of every daemon that this Prometheus sees now.",
            [("Value", "max by (instance, version) (dosimeter_build_info)")], keys=[("instance", "Target"), ("version", "Version")], unit="none",
            decimals=0, w=6, hide_value=True)
