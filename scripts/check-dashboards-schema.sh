#!/usr/bin/env bash
# Type-checks dashboards/*.json against Grafana's own types (@grafana/schema), for each release named below.
#
#   scripts/check-dashboards-schema.sh
#
# Each dashboard is written out as a TypeScript literal of type Dashboard, so that an unknown key is an error too. Dashboard
# leaves the options of a panel open; the panels are therefore checked a second time, each against its plugin's types.
# Needs Node 20 and npm; everything is installed in a temporary folder and removed again.
set -euo pipefail

releases=(11.6.9 12.3.1) # the second is the Grafana of docker-compose.yml
typescript=5.9.3

dashboards=$(cd "$(dirname "${BASH_SOURCE[0]}")/../dashboards" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cat > generate.mjs <<'JS'
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const folder = process.argv[2];
const PLUGINS = {
  bargauge: "BarGauge", stat: "Stat", "state-timeline": "StateTimeline", table: "Table", timeseries: "TimeSeries",
};
// Plugins without a field configuration of their own.
const NO_CUSTOM = new Set(["bargauge", "stat"]);

const ANNOTATION_KEYS = ["expr", "step", "useValueForTime", "titleFormat", "textFormat", "tagKeys", "rawQuery"];

const files = readdirSync(folder).filter((name) => name.endsWith(".json")).sort();
if (files.length === 0) throw new Error(`no dashboard in ${folder}`);

for (const file of files) {
  const text = readFileSync(join(folder, file), "utf8");
  const dashboard = JSON.parse(text);
  // What an annotation asks is its data source's, which the schema leaves out.
  const typed = JSON.parse(text);
  for (const annotation of typed.annotations.list) for (const key of ANNOTATION_KEYS) delete annotation[key];
  const out = ['import type { Dashboard } from "@grafana/schema";'];
  for (const [type, name] of Object.entries(PLUGINS)) {
    const path = type.replace("-", "");
    out.push(`import type * as ${name} from "@grafana/schema/dist/esm/raw/composable/${path}/panelcfg/x/${name}PanelCfg_types.gen";`);
  }
  out.push(`
// JSON has no enums: a member of a string enum is accepted as the text it stands for. Everything else stays as it is.
type Json<T> =
  T extends string ? \`\${T}\`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Json<U>[]
  : T extends object ? { [K in keyof T]: Json<T[K]> }
  : T;

export const dashboard: Json<Dashboard> = ${JSON.stringify(typed, null, 2)};
`);
  const panels = (list) => (list ?? []).flatMap((panel) => [panel, ...panels(panel.panels)]);
  const ids = new Set();
  for (const panel of panels(dashboard.panels)) {
    if (ids.has(panel.id)) throw new Error(`${file}: two panels have the id ${panel.id}`);
    ids.add(panel.id);
    if (panel.type === "row") continue;
    const name = PLUGINS[panel.type];
    if (!name) throw new Error(`${file}: panel "${panel.title}" has the type ${panel.type}, which this script does not know`);
    if (!panel.description) throw new Error(`${file}: panel "${panel.title}" has no description`);
    out.push(`// ${panel.title}`);
    out.push(`export const options${panel.id}: Json<Partial<${name}.Options>> = ${JSON.stringify(panel.options, null, 2)};`);
    const custom = panel.fieldConfig?.defaults?.custom;
    if (custom && NO_CUSTOM.has(panel.type)) throw new Error(`${file}: panel "${panel.title}": ${panel.type} has no custom fields`);
    if (custom) out.push(`export const custom${panel.id}: Json<Partial<${name}.FieldConfig>> = ${JSON.stringify(custom, null, 2)};`);
  }
  writeFileSync(file.replace(/\.json$/, ".ts"), out.join("\n") + "\n");
}
console.log(files.join(" "));
JS

cat > tsconfig.json <<'JSON'
{
  "compilerOptions": {
    "strict": true, "noEmit": true, "skipLibCheck": true, "target": "ES2022", "module": "ESNext",
    "moduleResolution": "node10", "exactOptionalPropertyTypes": true, "types": []
  },
  "include": ["*.ts"]
}
JSON

echo '{"private": true, "type": "module"}' > package.json
for release in "${releases[@]}"; do
  npm install --silent --no-audit --no-fund --ignore-scripts --save-exact "@grafana/schema@$release" "typescript@$typescript"
  checked=$(node generate.mjs "$dashboards")
  npx --no-install tsc --project .
  echo "ok: $checked are dashboards of @grafana/schema $release"
done
