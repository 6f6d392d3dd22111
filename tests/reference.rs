//! References: frozen, imported, approved; a model without one says so.

use dosimeter::reference::{Maker, freeze, import};
use dosimeter::store::rows::Knowledge;

use crate::support::{Installation, SMALL, at, metric, value, window};

fn maker() -> Maker<'static> {
    Maker { model: "chest-xray", version: None, person: "dr who", reason: "acceptance" }
}

fn predictions(day: &str, shift: u32) -> String {
    let rows = (0..40_u32).map(|case| {
        let score = f64::from((case * 7 + shift * case) % 40) / 40.0;
        let (site, sex) = (if case % 4 < shift { "south" } else { "north" }, if case % 2 == 0 { "F" } else { "M" });
        format!("{day}-{case},{day}T10:00:00Z,{score},0.5,{site},{sex}\n")
    });
    format!("study,at,effusion,nodule,site,sex\n{}", rows.collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_undefined_until_a_reference_is_approved_and_then_measured_against_it() {
    let installation = Installation::new(SMALL, "2025-02-20").await;
    installation.write("predictions/1.csv", predictions("2025-02-01", 1));
    installation.write("predictions/2.csv", predictions("2025-02-15", 3));
    installation.pass().await;
    let second = window("2025-02-15", "2025-02-16");
    let asked = installation.ask("effusion", "all", second, Knowledge::default()).await;
    assert!(metric(&asked, "score_psi").reason.as_deref().is_some_and(|reason| reason.contains("reference")));

    let context = installation.context();
    let (reference_id, cases) =
        freeze(&context, &maker(), window("2025-02-01", "2025-02-02")).await.expect("a reference");
    assert_eq!(cases, 40);
    let asked = installation.ask("effusion", "all", second, Knowledge::default()).await;
    assert_eq!(asked.reference_id, None, "frozen is not approved");
    context.store.approve_reference(reference_id, "dr who", "looked at it", at("2025-02-20")).await.expect("approved");
    let asked = installation.ask("effusion", "all", second, Knowledge::default()).await;
    assert_eq!(asked.reference_id, Some(reference_id));
    assert!(value(&asked, "dimension_psi[site]") > 0.2);
    assert_eq!(value(&asked, "dimension_psi[sex]"), 0.0);
    let same = installation.ask("effusion", "all", window("2025-02-01", "2025-02-02"), Knowledge::default()).await;
    assert_eq!(value(&same, "score_ks"), 0.0);

    // Later truth about the reference's cases does not change it.
    let people: Vec<String> = sqlx::query_scalar(
        "select actor || ' ' || action from audit where subject like 'reference%' order by audit_id",
    )
    .fetch_all(&installation.pool().await)
    .await
    .expect("the audit");
    assert_eq!(people.len(), 2, "{people:?}");
    assert!(people.iter().all(|entry| entry.starts_with("dr who")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_from_a_file_is_the_same_as_one_from_rows() {
    let installation = Installation::new(SMALL, "2025-02-20").await;
    let text = predictions("2025-02-01", 1);
    installation.write("predictions/1.csv", &text);
    installation.pass().await;
    let rows = text.lines().skip(1).map(|row| row.split(',').collect::<Vec<_>>());
    let lines = rows.flat_map(|row| {
        [("effusion", row[2]), ("nodule", row[3])]
            .map(|(output, score)| format!("{output},{score},,{},{}\n", row[4], row[5]))
    });
    let file = format!("output,score,truth,site,sex\n{}", lines.collect::<String>());
    installation.write("reference.csv", file);
    let context = installation.context();
    let (frozen, _) = freeze(&context, &maker(), window("2025-02-01", "2025-02-02")).await.expect("frozen");
    let (imported, _) = import(&context, &maker(), &installation.path("reference.csv")).await.expect("imported");
    let bodies: (i64, i64) = sqlx::query_as(
        "select count(*), count(distinct (output_id, slice, body)) from reference_summary where reference_id in ($1, $2)",
    )
    .bind(frozen)
    .bind(imported)
    .fetch_one(&installation.pool().await)
    .await
    .expect("a count");
    assert_eq!(bodies.0, 2 * bodies.1, "byte for byte");

    installation.write("wrong.csv", "output,score,truth,site,sex\neffusion,1.5,,north,F\n");
    let refused = import(&context, &maker(), &installation.path("wrong.csv")).await.expect_err("refused");
    assert!(refused.to_string().contains('2'), "it names the line: {refused}");
}
