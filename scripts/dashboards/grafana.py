"""Grafana's JSON from little: panels that look alike because one place says how they look.

A dashboard is filled from left to right; a panel that no longer fits begins the next line, so nothing overlaps. Every panel
takes a title and a description: what the number is, and what to make of it.
"""

import re

PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
POSTGRES = {"type": "grafana-postgresql-datasource", "uid": "${datasource}"}
BLUE, GREY, RED, GREEN = "blue", "#8e8e8e", "red", "green"

# Value and interval of one place: what every chart about a model is asked of.
PLACE = 'model="$model",version="$version",output="$output",slice="$slice",window="$window"'
REFERENCE = 'model="$model",version="$version",output="$output",slice="$slice"'


def steps(*pairs):
    """Colours by value: `steps(GREEN, (1, "red"))`."""
    first, rest = pairs[0], pairs[1:]
    return {"mode": "absolute", "steps": [{"color": first, "value": None}] + [{"color": c, "value": v} for v, c in rest]}


PLAIN = steps("text")


def named(name, **properties):
    """What is different about one series or column."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()],
    }


def fixed(colour):
    return {"mode": "fixed", "fixedColor": colour}


def band(lower, upper, colour=BLUE):
    """An interval: two lines that are not drawn, and what lies between them."""
    return [
        named(lower, color=fixed(colour), custom__lineWidth=0),
        named(upper, color=fixed(colour), custom__lineWidth=0, custom__fillBelowTo=lower, custom__fillOpacity=18),
    ]


def dashed(name):
    return named(name, color=fixed(GREY), custom__lineStyle={"fill": "dash", "dash": [8, 6]})


def hatched(name):
    """Provisional: dots instead of a line."""
    return named(name, color=fixed(GREY), custom__lineStyle={"fill": "dot", "dash": [2, 4]})


class Dashboard:
    def __init__(self, uid, title, description, tags=("model",), time="now-1h", refresh="10s"):
        self.body = {
            "uid": f"dosimeter-{uid}",
            "title": title,
            "description": description,
            "tags": ["dosimeter", *tags],
            "editable": True,
            "graphTooltip": 1,
            "schemaVersion": 41,
            "version": 1,
            "timezone": "browser",
            "refresh": refresh,
            "time": {"from": time, "to": "now"},
            "timepicker": {"refresh_intervals": ["10s", "30s", "1m", "5m", "15m", "1h"]},
            "fiscalYearStartMonth": 0,
            "preload": False,
            "weekStart": "",
            "annotations": {"list": [BUILT_IN]},
            "links": [ALL_DASHBOARDS],
            "templating": {"list": []},
            "panels": [],
        }
        self.x, self.y, self.height, self.next_id = 0, 0, 0, 1

    # Variables

    def prometheus(self):
        self._datasource("prometheus", "The Prometheus that scrapes dosimeter.")
        return self

    def postgres(self):
        self._datasource("grafana-postgresql-datasource", "dosimeter's database, by a role that may read the views of history only.")
        return self

    def _datasource(self, kind, description):
        self.body["templating"]["list"].append({
            "name": "datasource", "label": "Data source", "description": description, "type": "datasource", "query": kind,
            "refresh": 1, "regex": "", "multi": False, "includeAll": False, "hide": 0, "skipUrlSync": False, "options": [],
        })

    def variable(self, name, label, description, query, sort=1, preferred=None, multi=False):
        """A choice: of the values of a label in Prometheus, or of the rows of a query in Postgres."""
        is_sql = query.startswith("select ")
        one = {
            "name": name, "label": label, "description": description, "type": "query",
            "datasource": POSTGRES if is_sql else PROMETHEUS,
            "query": query if is_sql else {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
            "refresh": 2, "regex": "", "sort": 0 if is_sql else sort, "multi": multi, "includeAll": multi, "hide": 0,
            "skipUrlSync": False, "options": [],
        }
        if multi:
            one |= {"allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}
        elif preferred:
            one["current"] = {"text": preferred, "value": preferred}
        self.body["templating"]["list"].append(one)
        return self

    def places(self, models, outputs, slice_=True, window=True):
        """The usual chain: model, version, output, slice, window; each from what is there for the choices before it."""
        self.variable("model", "Model", "The monitored model.", f"label_values({models}, model)")
        self.variable("version", "Version", "The release of the model; the newest comes first.",
                      'label_values(dosimeter_predictions{model="$model"}, version)', sort=8)
        self.variable("output", "Output", "What the model says: a finding, a class, a value.",
                      f'label_values({outputs}{{model="$model",version="$version"}}, output)')
        if slice_:
            self.variable("slice", "Slice", "A part of the cases; all is the slice of everything.",
                          'label_values(dosimeter_predictions{model="$model",version="$version",output="$output"}, slice)',
                          sort=7, preferred="all")
        if window:
            self.window()
        return self

    def window(self):
        return self.variable("window", "Window", "The run of days that every number is computed over.",
                             'label_values(dosimeter_predictions{model="$model",version="$version"}, window)',
                             sort=8, preferred="30d")

    def alert_marks(self):
        """When the alerts that are open now fired, as lines across every chart."""
        self.body["annotations"]["list"].append({
            "name": "Alerts", "datasource": PROMETHEUS, "enable": True, "hide": False, "iconColor": RED,
            "expr": 'dosimeter_alert_timestamp_seconds{model="$model",version="$version",state!="pending"} * 1000',
            "step": "60s", "useValueForTime": "on", "titleFormat": "{{rule}} ({{severity}}, {{state}})",
            "textFormat": "{{output}}, {{slice}}", "tagKeys": "rule,output,slice",
        })
        return self

    def alert_events(self, sql):
        self.body["annotations"]["list"].append({
            "name": "Alerts", "datasource": POSTGRES, "enable": True, "hide": False, "iconColor": RED, "rawQuery": sql,
        })
        return self

    # Panels

    def row(self, title):
        self._break()
        self._place({"type": "row", "title": title, "collapsed": False}, 24, 1)
        self.body["panels"][-1]["panels"] = []
        self._break()

    def stat(self, title, description, expr, unit="none", decimals=None, thresholds=PLAIN, w=3, h=4, text="value",
             legend=None, overrides=()):
        self._panel("stat", title, description, [self._range(expr, legend or title.lower())], w, h, unit, decimals, thresholds,
                    overrides, color={"mode": "thresholds"}, options={
                        "colorMode": "value", "graphMode": "none", "justifyMode": "auto",
                        "orientation": "auto" if text == "value" else "horizontal", "textMode": text,
                        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "wideLayout": True,
                        "showPercentChange": False, "percentChangeColorMode": "standard",
                    })

    def lines(self, title, description, queries, unit="none", decimals=None, minimum=None, maximum=None, w=8, h=8,
              overrides=(), line_at=None, soft=None, bars=False, stacked=False, points=False):
        """A chart over time. `queries` are (legend, expression); `line_at` draws a grey line at a value."""
        custom = {
            "drawStyle": "bars" if bars else "points" if points else "line", "lineInterpolation": "stepAfter",
            "lineWidth": 1 if bars else 2, "fillOpacity": 60 if bars else 0, "gradientMode": "none",
            "showPoints": "always" if points else "never", "pointSize": 4, "spanNulls": False, "axisPlacement": "auto",
            "axisLabel": "", "axisColorMode": "text", "axisCenteredZero": False, "barAlignment": 0, "insertNulls": False,
            "scaleDistribution": {"type": "linear"}, "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
            "hideFrom": {"legend": False, "tooltip": False, "viz": False},
            "thresholdsStyle": {"mode": "off" if line_at is None else "dashed"},
        }
        if soft:
            custom |= {"axisSoftMin": soft[0], "axisSoftMax": soft[1]}
        thresholds = steps(GREEN) if line_at is None else steps("transparent", (line_at, GREY))
        targets = [self._range(expr, legend) for legend, expr in queries]
        self._panel("timeseries", title, description, targets, w, h, unit, decimals, thresholds, overrides,
                    color={"mode": "palette-classic"}, custom=custom, minimum=minimum, maximum=maximum, options={
                        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull"]},
                        "tooltip": {"mode": "multi", "sort": "none"},
                    })

    def estimate(self, title, description, metric, name, reference=False, place=PLACE, extra=(), more=(), **looks):
        """A metric with its 95 % interval as a band, and its value on the approved reference, dashed."""
        more_place = "".join("," + one for one in more)
        queries = [
            (name, f"max(dosimeter_{metric}{{{place}{more_place}}})"),
            ("95 % lower", f"max(dosimeter_{metric}_lower{{{place}{more_place}}})"),
            ("95 % upper", f"max(dosimeter_{metric}_upper{{{place}{more_place}}})"),
        ]
        overrides = [named(name, color=fixed(BLUE)), *band("95 % lower", "95 % upper")]
        if reference:
            queries.append(("reference", f"max(dosimeter_reference_{metric}{{{re.sub(',window=.*', '', place)}}})"))
            overrides.append(dashed("reference"))
        overrides += looks.pop("overrides", [])
        self.lines(title, description, queries + list(extra), overrides=overrides, **looks)

    def distance(self, title, description, metric, name, place=PLACE, extra=(), **looks):
        """A distance from the reference, and what chance alone exceeds once in twenty, dashed."""
        queries = [
            (name, f"max(dosimeter_{metric}{{{place}}})"),
            ("chance (95 %)", f"max(dosimeter_{metric}_null95{{{place}}})"),
            *extra,
        ]
        overrides = [named(name, color=fixed(BLUE)), dashed("chance (95 %)")]
        self.lines(title, description, queries, overrides=overrides, **looks)

    def table(self, title, description, columns, keys, unit="short", decimals=3, w=24, h=8, overrides=(), sort=None,
              hide_value=False):
        """A line for each combination of labels. `keys` are (label, heading), `columns` (heading, expression)."""
        targets = []
        for index, (_, expr) in enumerate(columns):
            target = self._query(expr, chr(ord("A") + index))
            targets.append(target if "rawSql" in target else target | {"range": False, "instant": True, "format": "table"})
        values = [f"Value #{chr(ord('A') + i)}" for i in range(len(columns))] if len(columns) > 1 else ["Value"]
        names = [label for label, _ in keys] + values
        headings = dict(keys) | ({} if hide_value else {value: heading for value, (heading, _) in zip(values, columns)})
        organise = {"id": "organize", "options": {
            "excludeByName": {"Time": True} | ({"Value": True} if hide_value else {}),
            "indexByName": {name: index for index, name in enumerate(names)},
            "renameByName": headings,
        }}
        transformations = [organise] if len(columns) == 1 else [{"id": "merge", "options": {}}, organise]
        options = {"showHeader": True, "cellHeight": "sm"}
        if sort:
            options["sortBy"] = [{"displayName": sort[0], "desc": sort[1]}]
        custom = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": True}
        self._panel("table", title, description, targets, w, h, unit, decimals, PLAIN, overrides,
                    color={"mode": "thresholds"}, custom=custom, options=options)
        if "rawSql" not in targets[0]:
            self.body["panels"][-1]["transformations"] = transformations

    def bars(self, title, description, expr, legend, unit="none", decimals=None, minimum=None, maximum=None, w=8, h=8,
             thresholds=steps(GREEN), colour=BLUE, overrides=()):
        """A bar for each series, as it is now."""
        target = self._query(expr, "A") | {"range": False, "instant": True, "legendFormat": legend}
        self._panel("bargauge", title, description, [target], w, h, unit, decimals, thresholds, overrides,
                    color=fixed(colour) if colour else {"mode": "thresholds"}, minimum=minimum, maximum=maximum, options={
                        "displayMode": "basic", "orientation": "horizontal", "valueMode": "text", "showUnfilled": True,
                        "namePlacement": "auto", "sizing": "auto", "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 300,
                        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
                    })

    def states(self, title, description, expr, legend, words, w=12, h=8):
        """Bars along time that change colour. `words` are (text, colour), from 0."""
        thresholds = steps(words[0][1], *((value, colour) for value, (_, colour) in enumerate(words) if value))
        mapping = {str(v): {"text": text, "color": colour, "index": v} for v, (text, colour) in enumerate(words)}
        custom = {"fillOpacity": 70, "lineWidth": 0, "hideFrom": {"legend": False, "tooltip": False, "viz": False}}
        self._panel("state-timeline", title, description, [self._range(expr, legend)], w, h, "none", None, thresholds, (),
                    color={"mode": "thresholds"}, custom=custom, mappings=[{"type": "value", "options": mapping}], options={
                        "mergeValues": True, "showValue": "never", "alignValue": "left", "rowHeight": 0.85,
                        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
                        "tooltip": {"mode": "single", "sort": "none"},
                    })

    # How it is put together

    def _query(self, expr, ref):
        if expr.lstrip().startswith(("select", "with")):
            return {"datasource": POSTGRES, "editorMode": "code", "rawQuery": True, "rawSql": expr.strip(), "format": "table",
                    "refId": ref}
        return {"datasource": PROMETHEUS, "editorMode": "code", "expr": expr, "refId": ref}

    def _range(self, expr, legend):
        target = self._query(expr, "A")
        if "rawSql" in target:
            return target | {"format": "time_series"}
        return target | {"range": True, "instant": False, "legendFormat": legend}

    def _panel(self, kind, title, description, targets, w, h, unit, decimals, thresholds, overrides, color, options, custom=None,
               mappings=(), minimum=None, maximum=None):
        for index, target in enumerate(targets):
            target["refId"] = chr(ord("A") + index)
        defaults = {"color": color, "unit": unit, "mappings": list(mappings), "thresholds": thresholds}
        optional = {"custom": custom, "decimals": decimals, "min": minimum, "max": maximum}
        defaults |= {key: value for key, value in optional.items() if value is not None}
        self._place({
            "type": kind, "title": title, "description": " ".join(description.split()), "datasource": targets[0]["datasource"],
            "targets": targets, "fieldConfig": {"defaults": defaults, "overrides": list(overrides)}, "options": options,
        }, w, h)

    def _place(self, panel, w, h):
        if self.x + w > 24:
            self._break()
        self.body["panels"].append({"id": self.next_id, **panel, "gridPos": {"h": h, "w": w, "x": self.x, "y": self.y}})
        self.next_id += 1
        self.x, self.height = self.x + w, max(self.height, h)

    def _break(self):
        self.x, self.y, self.height = 0, self.y + self.height, 0


BUILT_IN = {
    "builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": True, "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
}
ALL_DASHBOARDS = {
    "title": "Dashboards", "type": "dashboards", "tags": ["dosimeter"], "tooltip": "The other dashboards, with the same choices",
    "icon": "external link", "asDropdown": True, "includeVars": True, "keepTime": True, "targetBlank": False, "url": "",
}


def link_to(uid, title, *variables):
    """A link of a table's cell to another dashboard. `variables` are `name=value`, or a name that is handed on."""
    parts = ["${__url_time_range}", "${datasource:queryparam}"]
    parts += [f"var-{one}" if "=" in one else f"${{{one}:queryparam}}" for one in variables]
    return [{"title": title, "targetBlank": False, "url": f"/d/dosimeter-{uid}?" + "&".join(parts)}]
