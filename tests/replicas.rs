//! Several processes on one database: one does a job, and whoever comes too late changes nothing.

use std::time::Duration;

use dosimeter::alert::tell::Told;
use dosimeter::alert::{Standing, State, notice};
use dosimeter::job::Job;
use dosimeter::runtime::Outcome;
use dosimeter::store::Error;
use dosimeter::store::alert::{AlertChange, AlertKey, HumanStep};
use dosimeter::store::batch::{Batch, Progress};
use dosimeter::store::file::FileProgress;

use crate::support::{Installation, SMALL, at};

fn batch() -> Batch {
    Batch {
        source: "predictions".into(),
        origin: "p".into(),
        progress: Progress::File(FileProgress {
            path: "p".into(),
            digest: "d".into(),
            bytes: 1,
            modified_at: at("2025-02-01"),
            tag: None,
            mapping: "m".into(),
            rows_done: 1,
            state: "done",
            columns: None,
        }),
        predictions: vec![],
        assertions: vec![],
        rejections: vec![],
        duplicates: 0,
        ignored: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_held_by_one_runs_out_and_fences_its_late_holder() {
    let installation = Installation::new(SMALL, "2025-02-03").await;
    let store = installation.context().store;
    let minute = Duration::from_secs(60);
    let first = store.take_lease("ingest", "first", minute).await.expect("answers").expect("free");
    assert_eq!(store.take_lease("ingest", "second", minute).await.expect("answers"), None);
    assert_eq!(store.take_lease("ingest", "first", minute).await.expect("answers"), Some(first.clone()), "prolonged");
    // The job of this process leaves the work to the holder.
    assert_eq!(Job::Ingest.run(&installation.context()).await, Outcome::Idle);
    store.commit_batch(Some(&first), batch(), at("2025-02-03")).await.expect("the holder may");

    let expire = "update lease set expires_at = '-infinity'";
    sqlx::query(expire).execute(&installation.pool().await).await.expect("it runs out");
    let second = store.take_lease("ingest", "second", minute).await.expect("answers").expect("free again");
    assert!(second.fencing > first.fencing);
    let late = store.commit_batch(Some(&first), batch(), at("2025-02-03")).await.expect_err("fenced");
    assert!(matches!(late, Error::LeaseLost(_)), "{late}");
    assert_eq!(installation.count("batch").await, 1);
    store.release_lease(&first).await.expect("answers");
    assert_eq!(
        store.take_lease("ingest", "third", minute).await.expect("answers"),
        None,
        "a late release frees nothing"
    );
    store.release_lease(&second).await.expect("answers");
    assert!(store.take_lease("ingest", "third", minute).await.expect("answers").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_longer_than_its_lease_keeps_it() {
    let installation = Installation::new(SMALL, "2025-02-03").await;
    let store = installation.context().store;
    let second = Duration::from_secs(1);
    let lease = store.take_lease("ingest", "first", second).await.expect("answers").expect("free");
    // Something in the way of the commit, for longer than the lease lasts.
    let pool = installation.pool().await;
    let mut obstacle = pool.begin().await.expect("a transaction");
    sqlx::query("select 1 from batch_counter for update").execute(&mut *obstacle).await.expect("locked");
    let (committing, competing) = (store.clone(), store.clone());
    let commit = tokio::spawn(async move { committing.commit_batch(Some(&lease), batch(), at("2025-02-03")).await });
    tokio::time::sleep(second * 2).await;
    let competitor = tokio::spawn(async move { competing.take_lease("ingest", "second", second).await });
    tokio::time::sleep(second / 2).await;
    assert!(!competitor.is_finished(), "it waits for the row");
    obstacle.rollback().await.expect("out of the way");
    commit.await.expect("runs").expect("commits");
    assert_eq!(competitor.await.expect("runs").expect("answers"), None, "the commit has prolonged the lease");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_mailrooms_never_hold_the_same_notice() {
    let installation = Installation::new(SMALL, "2025-02-03").await;
    let report = serde_json::to_value(notice::test("http://here", at("2025-02-01"))).expect("JSON");
    let insert = "insert into outbox (route, channel, recipient, escalation, opens_thread, report, created_at, queued_at, next_attempt_at, attempts)
        select 'default', 'email', 'a@b.example', 0, true, $1, '2025-02-01', '2025-02-01', '2025-02-01', 0 from generate_series(1, 2)";
    sqlx::query(insert).bind(report).execute(&installation.pool().await).await.expect("notices");
    let store = installation.context().store;
    let (now, until) = (at("2025-02-03"), at("2025-02-03T00:05:00Z"));
    let one = store.claim_notice(now, until, &[]).await.expect("answers").expect("a notice");
    let two = store.claim_notice(now, until, &[]).await.expect("answers").expect("another");
    assert_ne!(one.outbox_id, two.outbox_id);
    assert!(store.claim_notice(now, until, &[]).await.expect("answers").is_none());
    // Whoever claimed it has died: it is tried again, and its Message-ID is the same.
    let again = store.claim_notice(until, at("2025-02-03T00:10:00Z"), &[]).await.expect("answers").expect("due again");
    assert_eq!(again.outbox_id, one.outbox_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_resolved_stays_resolved() {
    let installation = Installation::new(SMALL, "2025-02-03").await;
    installation.write("predictions/1.csv", "study,at,effusion,nodule\na,2025-02-01,0.5,0.1\n");
    installation.pass().await;
    let store = installation.context().store;
    let lease = store.take_lease("detect", "test", Duration::from_secs(60)).await.expect("answers").expect("free");
    let key = AlertKey { rule: "r".into(), version_id: 1, output_id: 1, slice: "all".into() };
    let id = store.reserve_alert_ids(1).await.expect("numbers")[0];
    let mut change = AlertChange {
        alert_id: id,
        from: None,
        key,
        severity: "page",
        transition: "fired",
        standing: Standing::new(State::Firing, true, at("2025-02-02")),
        told: Told::default(),
        reason: "a test".into(),
        decision: "told: a test".into(),
        estimate_id: None,
    };
    let apply = async |change: &AlertChange, day: &str| {
        store.apply_alert_changes(&lease, std::slice::from_ref(change), &[], at(day)).await.expect("answers")
    };
    assert!(apply(&change, "2025-02-03").await);
    assert!(!apply(&change, "2025-02-03").await, "at most one is open about the same");
    store.step_alert(id, HumanStep::Resolve, "dr who", "done", at("2025-02-03")).await.expect("resolved");
    // A job that had read the alert before decides after the person did.
    change.from = Some(State::Firing);
    change.transition = "ceased";
    change.standing.breached = false;
    assert!(!apply(&change, "2025-02-03").await);
    let alerts = store.list_alerts(false, 10).await.expect("alerts");
    assert_eq!((alerts.len(), alerts[0].state.as_str()), (1, "resolved"));
    // It was resolved while it held: it is remembered until it has ceased, so that it does not fire again at once.
    let quiet = store.list_open_alerts().await.expect("alerts");
    assert_eq!(quiet.iter().map(|alert| alert.standing.state).collect::<Vec<_>>(), [State::Resolved]);
    change.from = Some(State::Resolved);
    change.standing = Standing::new(State::Resolved, false, at("2025-02-03"));
    assert!(apply(&change, "2025-02-04").await);
    assert!(store.list_open_alerts().await.expect("alerts").is_empty());
}
