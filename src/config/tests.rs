//! The configuration files of the repository, and the errors that a user sees.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

fn check(text: &str) -> Result<Plan, Vec<String>> {
    parse(text, Path::new("/etc/dosimeter"), &|_| None)
        .map(|(plan, _)| plan)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

const MINIMAL: &str = include_str!("../../config/minimal.toml");
const FULL: &str = include_str!("../../config/full.toml");

#[test]
fn the_minimal_file_is_a_plan() {
    let plan = check(MINIMAL).expect("config/minimal.toml is valid");
    assert_eq!(plan.models[0].windows.len(), 3);
    assert_eq!(plan.sources[0].files().expect("files").paths, ["/etc/dosimeter/inbox/predictions"]);
}

#[test]
fn the_full_file_names_every_key() {
    let (_, vocabulary) = parse(FULL, Path::new(""), &|_| None).expect("config/full.toml is valid");
    // A key may stand in a comment: the two ways of a secret exclude each other.
    let mentioned: BTreeSet<&str> =
        FULL.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect();
    let missing: Vec<&String> =
        vocabulary.iter().filter(|key| !mentioned.contains(key.rsplit('.').next().unwrap_or_default())).collect();
    assert_eq!(missing, Vec::<&String>::new());
}

#[test]
fn stated_defaults_are_the_defaults() {
    let full = check(FULL).expect("valid");
    let minimal = check(MINIMAL).expect("valid");
    assert_eq!(full.service.listen, minimal.service.listen);
    assert_eq!(full.service.tick, minimal.service.tick);
    assert_eq!(full.database.max_connections, minimal.database.max_connections);
    assert_eq!(format!("{:?}", full.intake), format!("{:?}", minimal.intake));
    assert_eq!(format!("{:?}", full.retention), format!("{:?}", minimal.retention));
    assert_eq!(full.audit, minimal.audit);
    assert_eq!(full.models[0].windows, minimal.models[0].windows);
    assert_eq!(full.models[0].minimum_n, minimal.models[0].minimum_n);
    assert_eq!(full.models[0].truth_policy, minimal.models[0].truth_policy);
    assert_eq!(full.models[0].health, minimal.models[0].health, "[model.health] states its defaults");
    let settle = |plan: &Plan| plan.sources[0].files().expect("files").settle;
    assert_eq!(settle(&full), settle(&minimal));
    assert_eq!(
        crate::config::Alerting { escalations: Vec::new(), ..full.alerting.clone() },
        minimal.alerting,
        "[alerting] states its defaults"
    );
    assert_eq!(full.notify.retry_after, minimal.notify.retry_after);
    assert_eq!(full.notify.give_up_after, minimal.notify.give_up_after);
}

#[test]
fn all_problems_come_at_once_with_line_key_and_remedy() {
    let problems = check(
        r#"
[service]
listen = "everywhere"
lisen = 3

[[model]]
name = "m"
output = [{ name = "a" }, { name = "a" }]
windows = ["7 days"]
minimum_n = "many"

[[model.alert]]
name = "r"
metric = "sensitivty"
slice = "site=*"

[[source]]
name = "s"
paths = []
columns = { case = "c" }
"#,
    )
    .expect_err("many mistakes");
    let expected = [
        "line 3: service.listen: \"everywhere\" is no address",
        "line 4: service.lisen: is not a key here; did you mean \"listen\"?",
        "line 8: model[0].output: the name \"a\" is used twice",
        "line 9: model[0].windows: \"7 days\" is no window",
        "line 10: model[0].minimum_n: is a string; write a whole number",
        "model[0].alert[0].metric: \"sensitivty\" cannot be watched",
        "line 15: model[0].alert[0].slice: \"site\" is no dimension",
        "model[0].alert[0].below: a rule needs a limit",
        "source[0].paths: is missing",
        "source[0].columns: nothing says where \"occurred_at\" is",
    ];
    for wanted in expected {
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{wanted} not in {problems:#?}");
    }
}

#[test]
fn a_syntax_error_names_its_line() {
    let problems = check("[service]\nlisten = \n").expect_err("no value");
    assert!(problems[0].starts_with("line 2: (syntax): "), "{problems:?}");
}

#[test]
fn secrets_are_neither_debugged_nor_digested() {
    let with = |password: &str| {
        let text = FULL.replace("change me", password);
        check(&text).expect("valid")
    };
    let plan = with("hunter2hunter2");
    assert!(!format!("{plan:?}").contains("hunter2"));
    assert!(!plan.canonical().to_string().contains("hunter2"));
    assert_eq!(plan.digest(), with("another").digest());
}

#[test]
fn the_environment_wins_over_the_file() {
    let (plan, _) =
        parse(FULL, Path::new(""), &|name| (name == "DATABASE_URL").then(|| "postgres://elsewhere/db".to_owned()))
            .expect("valid");
    assert_eq!(plan.database.url.expect("set").expose(), "postgres://elsewhere/db");
}

#[test]
fn routes_are_read_with_their_defaults_and_their_secrets_from_the_environment() {
    let text = MINIMAL.to_owned()
        + r#"
[[notify.route]]
name = "chest-pager"
channel = "pagerduty"

[[notify.route]]
name = "am"
channel = "alertmanager"
url = "http://am:9093/prefix?x=hidden"
severity = ["ticket"]
"#;
    let environment = |name: &str| (name == "DOSIMETER_ROUTE_CHEST_PAGER_SECRET").then(|| "R0UTING".to_owned());
    let (plan, _) = parse(&text, Path::new(""), &environment).expect("valid");
    let names: Vec<&str> = plan.notify.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, [DEFAULT_ROUTE, "chest-pager", "am"], "to is the first route");
    let Channel::Pagerduty { address, secret } = &plan.notify.routes[1].channel else { panic!("a pager") };
    assert_eq!((address.origin.as_str(), secret.expose()), ("https://events.pagerduty.com", "R0UTING"));
    assert_eq!(plan.notify.routes[1].severities, Severity::ALL);
    let am = &plan.notify.routes[2];
    assert_eq!((am.channel.recipients(), am.severities.as_slice()), (vec!["http://am:9093"], &[Severity::Ticket][..]));
    let seen = format!("{plan:?} {}", plan.canonical());
    assert!(!seen.contains("hidden") && !seen.contains("R0UTING"), "{seen}");
    assert!(plan.canonical().to_string().contains("http://am:9093"), "the digest tells where notices go");
}

#[test]
fn every_mistake_in_a_route_is_named_with_its_remedy() {
    let text = MINIMAL.to_owned()
        + r#"
[[notify.route]]
name = "default"
channel = "smoke"

[[notify.route]]
name = "a b"
channel = "email"
url = "https://x"
severity = ["urgent"]
models = ["knee"]

[[notify.route]]
name = "hook"
channel = "webhook"
url = "ftp://secret-host/x"
secret = "short"
to = ["a@b.example"]

[[notify.route]]
name = "hook"
channel = "slack"
secret = "x"

[[notify.route]]
name = "pager"
channel = "pagerduty"
"#;
    let problems = check(&text).expect_err("many mistakes").join("\n");
    for wanted in [
        "notify.route[0].name: \"default\" is the route of notify.to",
        "notify.route[0].channel: \"smoke\" is not known; write one of \"email\", \"webhook\"",
        "notify.route[1].name: \"a b\" is no plain name",
        "notify.route[1].url: has no meaning for the channel email",
        "notify.route[1].to: is empty",
        "notify.route[1].severity: is a list of \"page\", \"ticket\" or both",
        "notify.route[1].models: \"knee\" is no model of this plan",
        "notify.route[2].url: is no address of a server; write https://host/path",
        "notify.route[2].secret: is too short to sign with",
        "notify.route[2].to: has no meaning for the channel webhook",
        "notify.route[3].url: is missing; write it here, name a file as url_file, or set DOSIMETER_ROUTE_HOOK_URL",
        "notify.route[3].secret: has no meaning for the channel slack",
        "notify.route[4].secret: is missing; name a file as secret_file, or set DOSIMETER_ROUTE_PAGER_SECRET",
        "notify.route: the name \"hook\" is used twice",
    ] {
        assert!(problems.contains(wanted), "{wanted} not in {problems}");
    }
    assert!(!problems.contains("secret-host"), "an address may be a secret: {problems}");
}

#[test]
fn a_rule_that_could_never_speak_is_refused() {
    let rule = |output: &str, metric: &str| {
        let text = format!(
            "[[model]]\nname = \"m\"\noutput = [{{ name = \"p\" }}, {{ name = \"c\", kind = \"classes\", classes = [\"a\", \"b\"] }}, \
             {{ name = \"v\", kind = \"value\" }}]\n[[model.alert]]\nname = \"r\"\noutput = \"{output}\"\nmetric = \"{metric}\"\n\
             bound = \"value\"\nbelow = 0.5\n"
        );
        check(&text).err().unwrap_or_default().join("\n")
    };
    for (output, metric) in [
        ("c", "auroc"),
        ("v", "prevalence"),
        ("v", "within_tolerance"),
        ("c", "score_psi"),
        ("c", "multiclass_top_2_accuracy"),
        ("c", "multiclass_expected_cost"),
        ("p", "mae"),
    ] {
        assert!(rule(output, metric).contains("never answers"), "{output} {metric}: {}", rule(output, metric));
    }
    for (output, metric) in
        [("p", "auroc"), ("c", "multiclass_kappa"), ("v", "mae"), ("v", "score_psi"), ("c=a", "brier")]
    {
        assert!(!rule(output, metric).contains("never answers"), "{output} {metric}: {}", rule(output, metric));
    }
    let many: Vec<String> = (0..40).map(|class| format!("\"{class}\"")).collect();
    let text = format!(
        "[[model]]\nname = \"m\"\noutput = [{{ name = \"c\", kind = \"classes\", classes = [{}] }}]\n",
        many.join(",")
    );
    assert!(check(&text).expect_err("too many")[0].contains("at most 32 classes"));
}

#[test]
fn problems_of_alerting_name_their_remedy() {
    let text = format!(
        "{MINIMAL}\n{}",
        r#"
[http]
token = "short"

[alerting]
longest_silence = "0s"
repeat = "1d"

[[alerting.escalation]]
after = "4h"
to = ["nobody"]

[[alerting.escalation]]
after = "2h"

[[maintenance]]
name = "a"
days = ["someday"]
from = "22"
until = "23:00"
time_zone = "Mars"

[[maintenance]]
name = "a"
models = ["other"]
slices = ["north"]
from = "2026-03-02"
until = "2026-03-01"
time_zone = "UTC"
"#
    );
    let problems = check(&text).expect_err("many problems");
    let expected = [
        "http.token: is too short",
        "alerting.longest_silence: is zero",
        "alerting.repeat: is not a key here",
        "alerting.escalation[0].to: \"nobody\" is no email address",
        "alerting.escalation: the steps are out of order",
        "alerting.escalation[1].to: is missing or empty",
        "maintenance[0].days: \"someday\" is no day",
        "maintenance[0].from: with days, a window is from one time of day",
        "maintenance[0].time_zone: \"Mars\" is no time zone",
        "maintenance: the name \"a\" is used twice",
        "maintenance[1].models: \"other\" is no model",
        "maintenance[1].slices: slice \"north\" is not of the form",
        "maintenance[1].until: is not after from",
        "maintenance[1].time_zone: has no meaning without days",
    ];
    for wanted in expected {
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{wanted} not in {problems:#?}");
    }
}

#[test]
fn a_clear_limit_stands_on_the_right_side() {
    let rule = |limit: &str, clear: f64| {
        let text = format!(
            "[[model]]\nname = \"m\"\noutput = [{{ name = \"p\" }}]\n[[model.alert]]\nname = \"r\"\nmetric = \"auroc\"\n{limit}\nclear = {clear}\n"
        );
        check(&text).err().unwrap_or_default().join("\n")
    };
    assert!(rule("below = 0.8", 0.8).contains("model[0].alert[0].clear: is not past the limit"));
    assert!(rule("above = 0.8", 0.9).contains("with above, clear is lower"));
    assert!(!rule("below = 0.8", 0.82).contains("clear"));
    assert!(!rule("above = 0.8", 0.7).contains("clear"));
}

#[test]
fn the_examples_of_the_documentation_are_sources() {
    let document = include_str!("../../docs/sources.md");
    let examples: Vec<&str> = document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let model = MINIMAL.split("[[source]]").next().expect("the model");
    let mut words = Vec::new();
    for example in &examples {
        let checked = check(&format!("{model}\n{example}"));
        if example.contains("kind = \"kafka\"") && !cfg!(feature = "kafka") {
            let problems = checked.expect_err("not in this program");
            assert!(problems.len() == 1 && problems[0].contains("--features kafka"), "{problems:?}");
            words.push("kafka");
            continue;
        }
        let plan = checked.unwrap_or_else(|problems| panic!("{example}\n{problems:#?}"));
        words.push(plan.sources[0].pull().expect("it is asked").upstream.word());
    }
    assert_eq!(words, ["sql", "http", "objects", "nats", "kafka"]);
}

#[test]
fn sources_that_are_asked_name_their_mistakes() {
    let model = MINIMAL.split("[[source]]").next().expect("the model").to_owned();
    let columns = "columns = { case = \"c\", occurred_at = \"t\", version = \"v\" }\n";
    let told = |source: &str| {
        let text = format!("{model}[[source]]\nname = \"my source\"\n{source}\n{columns}");
        check(&text).expect_err("a mistake").join("\n")
    };
    for (source, wanted) in [
        ("kind = \"sql\"\nurl = \"mysql://x\"", "DOSIMETER_SOURCE_MY_SOURCE_URL"),
        (
            "kind = \"sql\"\nurl = \"postgres://h/d\"\nquery = \"select $1\"\ncursor = \"c\"",
            "write what $1 is at first",
        ),
        ("kind = \"sql\"\noverlap = \"long\"", "\"1000\" when it is a number"),
        ("kind = \"sql\"\npaths = [\"x\"]", "paths: is not a key here"),
        ("kind = \"http\"\nurl = \"https://me:secret@host/a\"", "has a password in it"),
        ("kind = \"http\"\nurl = \"https://host\"\npaging = \"cursor\"", "where in the answer the cursor is"),
        ("kind = \"http\"\nurl = \"https://host\"\noverlap = \"1h\"", "needs since_parameter"),
        ("kind = \"http\"\nurl = \"https://host\"\nrecords = \"items\"", "is no JSON pointer"),
        ("kind = \"objects\"\nurl = \"gs://b\"", "write s3://bucket/prefix"),
        ("kind = \"objects\"\nurl = \"s3://b\"\nendpoint = \"http://h\"", "is not encrypted"),
        ("kind = \"objects\"\nurl = \"s3://b\"\naccess_key_id = \"a\"", "belong together"),
        ("kind = \"nats\"\nservers = [\"nats://a:b@h\"]\nstream = \"S\"", "use user and password"),
        ("kind = \"nats\"\nservers = [\"nats://h\"]", "name the stream"),
        ("kind = \"mqtt\"", "\"kafka\""),
    ] {
        let told = told(source);
        assert!(told.contains(wanted), "{source}: {wanted} not in {told}");
    }
}

#[test]
fn where_a_database_is_is_told_without_its_password() {
    let place = |url: &str| {
        let (query, cursor) = ("select 1".to_owned(), "n".to_owned());
        Sql { url: Secret::new(url), query, cursor, overlap: None, start: None }.place()
    };
    assert_eq!(place("postgres://ward:s3cret@ris:5432/db?sslmode=require"), "postgres://ris:5432/db");
    assert_eq!(place("postgres://ris/db?user=ward&password=s3cret"), "postgres://ris/db");
    assert_eq!(place("postgres://ward:s3/cr?et@ris/db"), "postgres");
}
