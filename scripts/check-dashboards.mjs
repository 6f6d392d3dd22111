// Runs every query of every dashboard against a Prometheus and fails if one of them shows nothing.
//
//   node scripts/check-dashboards.mjs http://127.0.0.1:9090
//
// Template variables take real values, found by running the dashboards' own variable queries in order: the default of the
// dashboard where Prometheus has it, else the first in the dashboard's sort order, `.*` where several values are allowed.
// A query passes if Prometheus answers with at least one number, and if each label that its legend or table names is there.
// Prints one line per query. Exit status: 0 all pass, 1 one fails, 2 called wrongly. Needs Node 20 and nothing else.

import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

const DASHBOARDS = fileURLToPath(new URL("../dashboards", import.meta.url));

// Ranges: long enough for two scrapes, short enough for a Prometheus that has just started.
const RANGES = { __rate_interval: "5m", __interval: "1m", __range: "1h", __interval_ms: "60000", __range_s: "3600", __range_ms: "3600000" };

const [prometheus, ...rest] = process.argv.slice(2);
if (!prometheus || rest.length > 0 || !/^https?:\/\//.test(prometheus)) {
  console.error("usage: node scripts/check-dashboards.mjs http://127.0.0.1:PORT");
  process.exit(2);
}

/** The instant vector that `expr` gives now; throws with Prometheus's own message. */
async function query(expr) {
  const response = await fetch(new URL("/api/v1/query", prometheus), {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({ query: expr }),
    signal: AbortSignal.timeout(30_000),
  });
  const text = await response.text();
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Error(`status ${response.status}, not JSON: ${text.slice(0, 120)}`);
  }
  if (body.status !== "success") throw new Error(body.error);
  const { resultType, result } = body.data;
  if (resultType === "scalar") return [{ metric: {}, value: result }];
  if (resultType !== "vector") throw new Error(`an instant vector is wanted, the answer is a ${resultType}`);
  return result;
}

/** Replaces $name, ${name}, ${name:format} and [[name]] by the value of the variable. */
function substitute(text, values) {
  return text.replace(/\$\{(\w+)(?::\w+)?\}|\[\[(\w+)\]\]|\$(\w+)/g, (whole, ...names) => {
    const name = names.slice(0, 3).find((n) => n !== undefined);
    if (name in RANGES) return RANGES[name];
    if (!values.has(name)) throw new Error(`unknown variable ${whole}`);
    return values.get(name);
  });
}

/** A value as it stands between the double quotes of a PromQL matcher. */
function escaped(value) {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"');
}

const numeric = (a, b) => Number(a) - Number(b);
const natural = (a, b) => a.localeCompare(b, "en", { numeric: true });
const insensitive = (a, b) => a.toLowerCase().localeCompare(b.toLowerCase(), "en");
const plain = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
/** Grafana's sort orders, by the number that stands in the dashboard. */
const ORDERS = [null, plain, plain, numeric, numeric, insensitive, insensitive, natural, natural];

function sorted(values, sort = 0) {
  const order = ORDERS[sort];
  if (!order) return values;
  const ascending = [...values].sort(order);
  return sort % 2 === 0 ? ascending.reverse() : ascending;
}

/** All panels, those inside collapsed rows too. */
function* panels(list) {
  for (const panel of list ?? []) {
    yield panel;
    yield* panels(panel.panels);
  }
}

let passed = 0;
let failed = 0;

/** Runs one check and prints its line. `check` returns what to say, or throws what is wrong. */
async function line(where, subject, check) {
  try {
    const said = await check();
    passed += 1;
    console.log(`ok    ${where}: ${said}  ${subject}`);
  } catch (error) {
    failed += 1;
    const cause = error.cause?.code ?? error.cause?.message;
    console.log(`FAIL  ${where}: ${error.message}${cause ? ` (${cause})` : ""}  ${subject}`);
  }
}

/** The values of a dashboard's template variables, each found in Prometheus. */
async function discover(file, dashboard) {
  const values = new Map();
  for (const variable of dashboard.templating?.list ?? []) {
    if (variable.type === "datasource") {
      values.set(variable.name, "prometheus");
      continue;
    }
    const text = typeof variable.query === "string" ? variable.query : variable.query?.query;
    await line(`${file} / $${variable.name}`, text, async () => {
      if (variable.type !== "query") throw new Error(`a variable of type ${variable.type} is not known here`);
      const call = /^label_values\(\s*(?:(.+),\s*)?(\w+)\s*\)$/s.exec(text);
      if (!call) throw new Error("only label_values(series, label) is known here");
      const [, selector = '{__name__=~".+"}', label] = call;
      const found = await query(`group by (${label}) (${substitute(selector, values)})`);
      const options = sorted(found.map((series) => series.metric[label]).filter((value) => value !== undefined), variable.sort);
      if (options.length === 0) throw new Error("no value");
      if (variable.multi || variable.includeAll) {
        values.set(variable.name, ".*");
      } else {
        const preferred = variable.current?.value;
        values.set(variable.name, escaped(options.includes(preferred) ? preferred : options[0]));
      }
      return `${options.length} values, takes ${values.get(variable.name)}`;
    });
  }
  return values;
}

/** The labels that a target's result must carry to be readable: those of its legend, or the named columns of its table. */
function wanted(target, panel) {
  if (target.format === "table") {
    const organize = panel.transformations?.find((transformation) => transformation.id === "organize");
    return Object.keys(organize?.options.renameByName ?? {}).filter((column) => !/^(Time|Value( #\w+)?)$/.test(column));
  }
  return [...(target.legendFormat ?? "").matchAll(/\{\{\s*(\w+)\s*\}\}/g)].map(([, label]) => label);
}

function judged(result, target, panel) {
  if (result.length === 0) throw new Error("empty result");
  const numbers = result.filter((series) => series.value[1] !== "NaN");
  if (numbers.length === 0) throw new Error(`${result.length} series, every value NaN`);
  for (const label of wanted(target, panel)) {
    if (!result.some((series) => label in series.metric)) throw new Error(`no series has the label ${label}`);
  }
  const first = numbers[0].value[1];
  return result.length === 1 ? `1 series, ${first}` : `${result.length} series, first ${first}`;
}

const files = readdirSync(DASHBOARDS).filter((name) => name.endsWith(".json")).sort();
for (const file of files) {
  const dashboard = JSON.parse(readFileSync(join(DASHBOARDS, file), "utf8"));
  const values = await discover(file, dashboard);
  for (const panel of panels(dashboard.panels)) {
    for (const target of panel.targets ?? []) {
      await line(`${file} / ${panel.title} / ${target.refId}`, target.expr, async () =>
        judged(await query(substitute(target.expr, values)), target, panel),
      );
    }
  }
}

console.log(`${files.length} dashboards: ${passed} queries pass, ${failed} fail`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
