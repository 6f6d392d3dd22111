//! The dashboards: well made as files, and every query of every panel finds something to show.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sqlx::Row;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every dashboard by the name of its file.
pub fn all() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(root().join("dashboards")).expect("dashboards/").flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).expect("a file");
        (name, serde_json::from_str(&text).expect("JSON"))
    };
    files.map(read).collect()
}

/// All panels of a dashboard, those in rows too.
fn panels(list: &Value, found: &mut Vec<Value>) {
    for panel in list.as_array().into_iter().flatten() {
        found.push(panel.clone());
        panels(&panel["panels"], found);
    }
}

fn panels_of(dashboard: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    panels(&dashboard["panels"], &mut all);
    all
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The queries of a dashboard's panels, each with where it stands.
fn queries<'a>(panels: &'a [Value], key: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    panels.iter().flat_map(move |panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.filter_map(move |target| Some((text(panel, "title"), target[key].as_str()?)))
    })
}

#[test]
fn every_panel_has_a_title_a_description_and_a_place_of_its_own() {
    let (mut uids, mut titles, mut problems) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for (name, dashboard) in all() {
        if !uids.insert(text(&dashboard, "uid").to_owned()) || !titles.insert(text(&dashboard, "title").to_owned()) {
            problems.push(format!("{name}: its uid or title is another one's"));
        }
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeMap::new());
        for panel in panels_of(&dashboard) {
            let title = text(&panel, "title");
            let place = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
            let (x, y, w, h) = (place("x"), place("y"), place("w"), place("h"));
            let is_row = panel["type"] == "row";
            if title.is_empty() || (!is_row && text(&panel, "description").len() < 20) {
                problems.push(format!("{name}: panel {} has no title or no description", panel["id"]));
            }
            if !ids.insert(panel["id"].to_string()) || x + w > 24 || w == 0 || h == 0 {
                problems.push(format!("{name} / {title}: its id is another one's, or it is out of the grid"));
            }
            if !is_row && panel["fieldConfig"]["defaults"]["unit"].is_null() {
                problems.push(format!("{name} / {title}: it has no unit"));
            }
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                if let Some(other) = taken.insert(cell, title.to_owned()) {
                    problems.push(format!("{name}: {other} and {title} lie on each other"));
                    break;
                }
            }
        }
    }
    assert!(uids.len() >= 9, "{uids:?}");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn links_lead_to_dashboards_that_exist_and_hand_on_variables_that_are_there() {
    let dashboards = all();
    let names_of = |dashboard: &Value| -> BTreeSet<String> {
        let list = dashboard["templating"]["list"].as_array().expect("variables");
        list.iter().map(|variable| text(variable, "name").to_owned()).collect()
    };
    let by_uid: BTreeMap<&str, BTreeSet<String>> =
        dashboards.values().map(|dashboard| (text(dashboard, "uid"), names_of(dashboard))).collect();
    let mut followed = 0;
    for (name, dashboard) in &dashboards {
        let own = names_of(dashboard);
        for panel in panels_of(dashboard) {
            let overrides = panel["fieldConfig"]["overrides"].as_array().cloned().unwrap_or_default();
            let properties = overrides.iter().flat_map(|one| one["properties"].as_array().cloned().unwrap_or_default());
            let links = properties.filter(|property| property["id"] == "links");
            for link in links.flat_map(|property| property["value"].as_array().cloned().unwrap_or_default()) {
                let url = text(&link, "url");
                let (uid, parameters) = url.strip_prefix("/d/").and_then(|rest| rest.split_once('?')).expect("a link");
                let theirs = by_uid.get(uid).unwrap_or_else(|| panic!("{name} links to {uid}, which is no dashboard"));
                for parameter in parameters.split('&') {
                    let handed = parameter.strip_suffix(":queryparam}").and_then(|rest| rest.strip_prefix("${"));
                    let given = parameter.strip_prefix("var-").and_then(|rest| rest.split('=').next());
                    assert!(handed.is_none_or(|handed| own.contains(handed)), "{name}: {parameter} is none of its own");
                    let wanted = handed.or(given);
                    assert!(wanted.is_none_or(|wanted| theirs.contains(wanted)), "{name}: {uid} has no {wanted:?}");
                }
                followed += 1;
            }
        }
    }
    assert!(followed >= 3, "{followed} links");
}

#[test]
fn the_dashboards_are_what_their_description_makes() {
    let output = Command::new("python3").arg(root().join("scripts/dashboards")).arg("--check").output();
    let output = output.expect("python3, which other tests need, too");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every metric that a dashboard or a rule asks for is one that the daemon has.
#[test]
fn dashboards_and_rules_name_no_metric_that_there_is_not() {
    let known = |name: &str| {
        let own = dosimeter::export::FAMILIES.iter().any(|(family, _)| *family == name);
        own || dosimeter::metric::catalogue::find(name).is_some()
    };
    let endings = ["_lower", "_upper", "_null95", "_p_value", "_bucket"];
    let mut texts: Vec<(String, String)> = all().into_iter().map(|(name, body)| (name, body.to_string())).collect();
    for file in crate::rules::files() {
        texts.push((file.display().to_string(), std::fs::read_to_string(&file).expect("a file")));
    }
    let mut unknown = BTreeSet::new();
    for (name, text) in &texts {
        // A recorded series carries its level before a colon.
        for (position, _) in text.match_indices("dosimeter_").filter(|(at, _)| !text[..*at].ends_with(':')) {
            let rest = &text[position + "dosimeter_".len()..];
            let word: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let base = endings.iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(&word);
            if !known(&word) && !known(base) {
                unknown.insert(format!("{name}: dosimeter_{word}"));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// Every query of every panel gives a number, with the variables as the dashboard finds them.
pub fn show_data(ask: impl Fn(&str) -> Result<Vec<Value>, String>) {
    let (mut asked, mut empty) = (0, Vec::new());
    for (name, dashboard) in all().iter().filter(|(name, _)| *name != "history") {
        let mut values = vec![("__rate_interval".to_owned(), "30s".to_owned())];
        let filled = |text: &str, values: &[(String, String)]| {
            values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
        };
        for variable in dashboard["templating"]["list"].as_array().expect("variables") {
            let Some(text) = variable["query"]["query"].as_str() else { continue };
            let inner =
                text.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).expect("label_values");
            let (selector, label) = inner.rsplit_once(", ").expect("a label");
            let found = ask(&format!("group by ({label}) ({})", filled(selector, &values))).expect("an answer");
            let mut options: Vec<String> =
                found.iter().filter_map(|one| one["metric"][label].as_str().map(str::to_owned)).collect();
            options.sort_unstable();
            let preferred = variable["current"]["value"].as_str().unwrap_or_default().to_owned();
            let value = match variable["multi"].as_bool() {
                Some(true) => ".*".to_owned(),
                _ if options.contains(&preferred) => preferred,
                _ => options.first().unwrap_or_else(|| panic!("{name}: {} has no value", variable["name"])).clone(),
            };
            values.push((variable["name"].as_str().expect("a name").to_owned(), value));
        }
        let panels = panels_of(dashboard);
        let marks = dashboard["annotations"]["list"].as_array().expect("annotations");
        let marks = marks.iter().filter_map(|mark| Some(("annotation", mark["expr"].as_str()?)));
        for (title, expression) in queries(&panels, "expr").chain(marks) {
            asked += 1;
            let answer = ask(&filled(expression, &values));
            let has_number = answer.as_ref().is_ok_and(|series| series.iter().any(|one| one["value"][1] != "NaN"));
            // Marks of the alerts of one version: another version's may be all there are.
            if !has_number && (title != "annotation" || answer.is_err()) {
                empty.push(format!("{name} / {title}: {}: {answer:?}", filled(expression, &values)));
            }
        }
    }
    assert!(asked > 200, "{asked} queries");
    assert!(empty.is_empty(), "{} of {asked} queries show nothing:\n{}", empty.len(), empty.join("\n"));
}

/// The charts of the dashboard History that need an installation with evidence.
const OF_EVIDENCE: [&str; 2] = ["Evidence as a part of the alarm's", "Alarms a month, all models"];

/// The same of the dashboard that asks the database, by a role that may read its views and nothing else; of its charts of evidence or
/// of all others.
pub async fn show_history(url: &str, of_evidence: bool) {
    let dashboard = &all()["history"];
    let pool = sqlx::PgPool::connect(url).await.expect("the database answers");
    let mut connection = pool.acquire().await.expect("a connection");
    let name: String =
        sqlx::query_scalar("select current_database()::text").fetch_one(&mut *connection).await.expect("a name");
    let role = format!("reader_of_{name}");
    let script = reader_script().replace("grafana_reader", &role).replace("login password 'change me'", "nologin");
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(&mut *connection)
        .await
        .expect("the script of the documentation");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("set role {role}"))).execute(&mut *connection).await.expect("the role");
    for table in ["prediction", "assertion", "identifier", "token", "rejection", "installation", "estimate", "audit"] {
        let denied = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("select from {table}"))).execute(&mut *connection).await;
        assert!(denied.is_err_and(|error| error.to_string().contains("permission denied")), "{table} can be read");
    }

    let mut values: Vec<(String, String)> = Vec::new();
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let Some(sql) = variable["query"].as_str().filter(|sql| sql.starts_with("select ")) else { continue };
        let rows = sqlx::query(sqlx::AssertSqlSafe(expanded(sql, &values))).fetch_all(&mut *connection).await;
        let options: Vec<String> =
            rows.unwrap_or_else(|error| panic!("{sql}: {error}")).iter().map(|row| row.get::<String, _>(0)).collect();
        let preferred = variable["current"]["value"].as_str().unwrap_or_default().to_owned();
        let is_offered = options.contains(&preferred);
        let first = || options.first().unwrap_or_else(|| panic!("{} has no value", variable["name"])).clone();
        values.push((text(variable, "name").to_owned(), if is_offered { preferred } else { first() }));
    }
    let panels = panels_of(dashboard);
    let marks = dashboard["annotations"]["list"].as_array().expect("annotations");
    let marks = marks.iter().filter_map(|mark| Some(("annotation", mark["rawQuery"].as_str()?)));
    let (mut asked, mut empty) = (0, Vec::new());
    let wanted = queries(&panels, "rawSql").chain(marks);
    for (title, sql) in wanted.filter(|(title, _)| OF_EVIDENCE.contains(title) == of_evidence) {
        asked += 1;
        let mut sql = expanded(sql, &values);
        if title == "Windows without a value" {
            // Of what has a value everywhere there is nothing to show: any metric without one will do.
            sql = sql.replace(&format!("= '{}'", value_of(&values, "metric")), "like '%'");
            sql = sql.replace(&format!("= '{}'", value_of(&values, "parameter")), "like '%'");
        }
        match sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).fetch_all(&mut *connection).await {
            Ok(rows) if !rows.is_empty() => {}
            other => empty.push(format!("{title}: {sql}: {other:?}")),
        }
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("reset role; drop owned by {role}; drop role {role}")))
        .execute(&mut *connection)
        .await
        .expect("the role can go");
    assert!(asked >= if of_evidence { 2 } else { 10 }, "{asked} queries");
    assert!(empty.is_empty(), "{} of {asked} queries show nothing:\n{}", empty.len(), empty.join("\n"));
}

fn value_of<'a>(values: &'a [(String, String)], name: &str) -> &'a str {
    values.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str()).expect("a variable")
}

/// A statement as Grafana sends it: its macros and variables filled in.
fn expanded(sql: &str, values: &[(String, String)]) -> String {
    let (from, to) = ("'2000-01-01T00:00:00Z'", "'2100-01-01T00:00:00Z'");
    let now = dosimeter::clock::Clock::system().now() + chrono::TimeDelta::days(1);
    let to_now = format!("'{}'", now.format("%Y-%m-%dT%H:%M:%SZ"));
    let mut sql = sql.replace("$__timeFrom()", from).replace("$__timeTo()", &to_now);
    while let Some(start) = sql.find("$__timeFilter(") {
        let inner = &sql[start + "$__timeFilter(".len()..];
        let column = inner.split(')').next().expect("a column").to_owned();
        sql = sql.replacen(&format!("$__timeFilter({column})"), &format!("{column} between {from} and {to}"), 1);
    }
    for (name, value) in values {
        sql = sql.replace(&format!("${{{name}:sqlstring}}"), &format!("'{}'", value.replace('\'', "''")));
    }
    assert!(!sql.contains('$'), "a variable or macro is left: {sql}");
    sql
}

/// The statements that docs/dashboards.md gives whoever keeps the database.
fn reader_script() -> String {
    let text = std::fs::read_to_string(Path::new(&root()).join("docs/dashboards.md")).expect("docs/dashboards.md");
    let script = text.split("```sql").nth(1).and_then(|rest| rest.split("```").next()).expect("a script");
    script.to_owned()
}
