//! The contract of a model's data: what breaks it is taken in, counted by reason, shown, and told of where the plan asks.

use std::fmt::Write as _;

use crate::support::{Installation, SMALL, at};

fn config(contract: &str) -> String {
    let columns = "dimension = [{ name = \"site\", values = [\"north\", \"south\"], required = true }, { name = \"sex\" }]\n\
                   feature = [{ name = \"kv\", minimum = 40, maximum = 150 }, { name = \"scanner\", kind = \"categorical\", values = [\"A\", \"B\"] }]";
    SMALL.replacen("dimension = [{ name = \"site\" }, { name = \"sex\" }]", columns, 1).replacen(
        "unknown_version = false",
        &format!("unknown_version = false, {contract}"),
        1,
    )
}

/// Twenty good predictions, and some that break the contract in each way.
async fn delivered(contract: &str) -> Installation {
    let installation = Installation::new(&config(contract), "2025-02-02T01:00:00Z").await;
    let mut rows = "study,at,effusion,nodule,site,sex,kv,scanner\n".to_owned();
    for case in 0..20 {
        let _ = writeln!(rows, "good-{case},2025-02-01T10:00:00Z,0.5,0.1,north,F,80,A");
    }
    for (case, rest) in ["west,F,80,A", ",F,80,A", "south,F,80 kV,A", "south,F,9000,C", "south,,,"].iter().enumerate() {
        let _ = writeln!(rows, "odd-{case},2025-02-01T10:00:00Z,0.5,0.1,{rest}");
    }
    installation.write("predictions/1.csv", rows);
    for _ in 0..2 {
        installation.pass().await;
    }
    assert_eq!(
        (installation.count("prediction").await, installation.rejections().await),
        (25, vec![]),
        "none is refused"
    );
    installation
}

async fn judged(installation: &Installation) -> Vec<(String, String, String)> {
    let rows = installation.context().store.list_health().await.expect("judgements");
    let own = rows.into_iter().filter(|row| row.rule == "contract");
    own.map(|row| (row.subject, row.verdict, row.reason)).collect()
}

async fn told(installation: &Installation) -> Vec<(String, String)> {
    let alerts = installation.context().store.list_alerts(false, 10).await.expect("alerts");
    alerts.into_iter().map(|alert| (alert.rule, alert.severity)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_contract_is_counted_by_column_and_reason() {
    let installation = delivered("contract = \"count\", contract_share = 0.07").await;
    let text = installation.context().exporter.render().expect("text");
    for (column, reason, count) in [
        ("site", "unknown-value", 1),
        ("site", "missing", 1),
        ("kv", "not-a-number", 1),
        ("kv", "out-of-range", 1),
        ("kv", "missing", 0),
        ("scanner", "unknown-value", 1),
    ] {
        let line = format!(
            "dosimeter_contract_breaches_total{{model=\"chest-xray\",column=\"{column}\",reason=\"{reason}\"}} {count}"
        );
        assert!(text.contains(&line), "{line} is missing: {text}");
    }
    let judged = judged(&installation).await;
    let verdicts: Vec<(&str, &str)> =
        judged.iter().map(|(name, verdict, _)| (name.as_str(), verdict.as_str())).collect();
    assert_eq!(verdicts, [("kv", "broken"), ("scanner", "kept"), ("site", "broken")]);
    assert!(judged[2].2.contains("missing in 1, unknown-value in 1 of 25 predictions"), "{judged:?}");
    assert_eq!(told(&installation).await, [], "counted, and nobody is told");

    // What comes twice is counted once.
    let path = installation.path("predictions/1.csv");
    let again = std::fs::read_to_string(&path).expect("a file") + "good-x,2025-02-01T11:00:00Z,0.5,0.1,north,F,80,A\n";
    installation.write("predictions/2.csv", again);
    installation.pass().await;
    let text = installation.context().exporter.render().expect("text");
    assert!(text.contains("column=\"site\",reason=\"unknown-value\"} 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_is_told_and_a_day_later_it_is_over() {
    for severity in ["ticket", "page"] {
        let installation = delivered(&format!("contract = \"{severity}\", contract_share = 0.07")).await;
        let rule = |column: &str| (format!("health/contract/{column}"), severity.to_owned());
        let mut alerts = told(&installation).await;
        alerts.sort_unstable();
        assert_eq!(alerts, [rule("kv"), rule("site")]);
        installation.hand.turn_to(at("2025-02-03T03:00:00Z"));
        installation.pass().await;
        let judged = judged(&installation).await;
        assert!(judged.iter().all(|(_, verdict, _)| verdict == "kept"), "{judged:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_without_a_contract_judges_nothing_and_false_turns_it_off() {
    let plain = Installation::new(SMALL, "2025-02-02T01:00:00Z").await;
    plain.write("predictions/1.csv", "study,at,effusion,nodule,site,sex\nS1,2025-02-01,0.5,0.1,moon,F\n");
    plain.pass().await;
    assert_eq!((judged(&plain).await, plain.count("contract_breach").await), (vec![], 0));
    assert_eq!(judged(&delivered("contract = false").await).await, []);
}

#[test]
fn a_contract_that_contradicts_itself_is_refused() {
    let text = config("contract = \"loud\"")
        .replacen("minimum = 40, maximum = 150", "minimum = 150, maximum = 40", 1)
        .replacen("values = [\"A\", \"B\"]", "minimum = 1", 1);
    let problems =
        dosimeter::config::parse(&text, std::path::Path::new("/"), &|_| None).map(|_| ()).expect_err("mistakes");
    let told = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for wanted in ["maximum: must be above minimum", "a categorical feature has values", "health.contract"] {
        assert!(told.contains(wanted), "{wanted} not in {told}");
    }
}
