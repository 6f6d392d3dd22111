//! Embeddings of the input: taken in, frozen with a reference, seen through it from then on.

use std::fmt::Write as _;

use dosimeter::query::drift::rank;
use dosimeter::query::{Question, ask};
use dosimeter::reference::{Maker, freeze};
use dosimeter::store::rows::Knowledge;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{Installation, SMALL, at, metric, said, value, window};

fn plan() -> String {
    SMALL
        .replace("crossings = [\"site & sex\"]", "crossings = [\"site & sex\"]\nembedding = { dimensions = 4 }")
        .replace(
            "columns = { case = \"study\", occurred_at = \"at\" }",
            "columns = { case = \"study\", occurred_at = \"at\", embedding = \"inside\" }",
        )
}

/// Forty days of fifty cases; from the thirtieth on the first coordinate has moved.
fn predictions(header: bool) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut text = if header { "study,at,effusion,nodule,site,sex,inside\n".to_owned() } else { String::new() };
    for case in 0..2000_u32 {
        let day = case / 50;
        let date = chrono::NaiveDate::from_ymd_opt(2025, 2, 1).expect("a date") + chrono::Days::new(day.into());
        let mut number = || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let shift = if day >= 30 { 3.0 } else { 0.0 };
        let (a, b, c, d) = (number() + shift, number(), number(), number());
        let embedding =
            if case % 100 == 7 { String::new() } else { format!("\"[{a:.4}, {b:.4}, {:.4}, {d:.4}]\"", a + 0.3 * c) };
        let _ = writeln!(text, "{case},{date}T10:00:00Z,0.3,0.5,north,F,{embedding}");
    }
    text
}

fn maker() -> Maker<'static> {
    Maker { model: "chest-xray", version: None, person: "dr who", reason: "acceptance" }
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_are_seen_through_the_reference_in_force() {
    let installation = Installation::new(&plan(), "2025-03-13").await;
    installation.write("predictions/1.csv", predictions(true));
    installation.pass().await;
    assert_eq!(installation.rejections().await, []);
    let late = window("2025-03-03", "2025-03-13");
    let quiet = window("2025-02-21", "2025-03-03");

    let unseen = installation.ask("(embedding)", "all", late, Knowledge::default()).await;
    assert_eq!(
        metric(&unseen, "embedding_mmd2").undefined.as_ref().map(dosimeter::domain::Undefined::code),
        Some("no-reference")
    );
    assert!((value(&unseen, "embedding_missing") - 0.01).abs() < 1e-9);

    let context = installation.context();
    let (reference_id, _) = freeze(&context, &maker(), window("2025-02-01", "2025-02-21")).await.expect("a reference");
    context.store.approve_reference(reference_id, "dr who", "looked at it", at("2025-03-13")).await.expect("approved");
    assert!(installation.count("dirty_bucket").await > 30, "every bucket is seen anew");
    installation.pass().await;

    let still = installation.ask("(embedding)", "all", quiet, Knowledge::default()).await;
    assert_eq!(still.read_from, "summaries");
    for name in ["embedding_mahalanobis_share", "embedding_mahalanobis_ks", "embedding_mmd2"] {
        let estimate = metric(&still, name).estimate.clone().expect("defined");
        assert!(estimate.p_value.expect("a p-value") > 0.01, "nothing has changed: {name} {estimate:?}");
    }
    let moved = installation.ask("(embedding)", "all", late, Knowledge::default()).await;
    for name in ["embedding_mahalanobis_share", "embedding_mmd2"] {
        let estimate = metric(&moved, name).estimate.clone().expect("defined");
        assert!(estimate.p_value.expect("a p-value") < 1e-4, "it has moved: {name} {estimate:?}");
    }
    assert!(value(&moved, "embedding_mahalanobis_share") > 0.2);

    // From rows the same bits; through another reference other numbers, and never those that are stored.
    let rows =
        installation.ask("(embedding)", "all", late, Knowledge { known_at: None, recorded: Some(1_000_000) }).await;
    assert_eq!((rows.read_from, said(&rows) == said(&moved)), ("rows", true));
    let (other, _) = freeze(&context, &maker(), window("2025-03-03", "2025-03-13")).await.expect("a reference");
    let question = Question {
        model: "chest-xray".into(),
        version: None,
        output: "(embedding)".into(),
        slice: "all".parse().expect("a slice"),
        window: late,
        knowledge: Knowledge::default(),
        thresholds: vec![],
        reference_id: Some(other),
        most_rows: None,
    };
    let through_other = ask(&context, &question).await.expect("an answer");
    assert_eq!(through_other.read_from, "rows");
    assert!(value(&through_other, "embedding_mahalanobis_share") < 0.05);

    // Those of before the reference and those that see through it are made again bit for bit.
    let seen = async |like: &str| installation.count(&format!("estimate where metrics::text like '%{like}%'")).await;
    assert!(seen("no-reference").await > 0);
    assert!(seen("embedding_mahalanobis_share").await > 0);
    let (agree, others) = installation.replays().await;
    assert!(agree > 10 && others.is_empty(), "{agree}: {others:?}");

    let list = rank(&context, &Question { reference_id: None, ..question }).await.expect("a list");
    assert_eq!(list[0].kind, "embedding", "what has moved most stands first");
    let exposed = context.exporter.render().expect("text");
    assert!(exposed.lines().any(|line| line.starts_with("dosimeter_embedding_mmd2{")), "Prometheus sees it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedding_of_another_length_is_refused_and_one_that_comes_later_is_added() {
    let installation = Installation::new(&plan(), "2025-03-13").await;
    let header = "study,at,effusion,nodule,site,sex,inside";
    let row = |case: &str, inside: &str| format!("{case},2025-02-01T10:00:00Z,0.3,0.5,north,F,{inside}\n");
    installation.write(
        "predictions/1.csv",
        format!(
            "{header}\n{}{}{}{}",
            row("a", "\"[1, 2, 3]\""),
            row("b", "1;2;3;x"),
            row("c", "1 2 3 4"),
            row("d", "")
        ),
    );
    installation.pass().await;
    let reasons: Vec<i64> = installation.rejections().await.into_iter().map(|(_, line, _)| line).collect();
    assert_eq!(reasons, [2, 3]);
    let messages: Vec<String> = sqlx::query_scalar("select message from rejection order by line")
        .fetch_all(&installation.pool().await)
        .await
        .expect("messages");
    assert!(messages[0].contains("has 3 numbers") && messages[0].contains("says 4"), "{messages:?}");
    // d comes again and says more.
    installation.write("predictions/2.csv", format!("{header}\n{}", row("d", "4;3;2;1")));
    installation.pass().await;
    let day = window("2025-02-01", "2025-02-02");
    let asked = installation.ask("(embedding)", "all", day, Knowledge::default()).await;
    assert_eq!(value(&asked, "embedding_missing"), 0.0);
    // Two embeddings are too few to freeze; the rest of the reference is frozen all the same.
    let context = installation.context();
    let (reference_id, _) = freeze(&context, &maker(), day).await.expect("a reference");
    context.store.approve_reference(reference_id, "dr who", "looked at it", at("2025-03-13")).await.expect("approved");
    installation.pass().await;
    let asked = installation.ask("(embedding)", "all", day, Knowledge::default()).await;
    assert_eq!(
        metric(&asked, "embedding_mmd2").undefined.as_ref().map(dosimeter::domain::Undefined::code),
        Some("no-reference")
    );
    let scores = installation.ask("effusion", "all", day, Knowledge::default()).await;
    assert_eq!(scores.reference_id, Some(reference_id));
}
