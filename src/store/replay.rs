//! Replays of past estimates: which are looked at again, and what came of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::estimate::StoredEstimate;
use super::lease::{self, Lease};
use super::series::EstimateRecord;
use super::{Named, Result, Store};

/// What came of the replay of one estimate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReplay {
    /// The estimate.
    pub estimate_id: i64,
    /// agrees, differs or cannot.
    pub verdict: &'static str,
    /// What differs, or why it cannot be made again.
    pub words: String,
}

/// An estimate whose last replay differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differing {
    /// The estimate.
    pub estimate_id: i64,
    /// What differs.
    pub words: String,
    /// Since when it has been known to differ.
    pub since: DateTime<Utc>,
}

/// What a model's replays have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayState {
    /// Estimates that have been replayed.
    pub replayed: i64,
    /// When the last one was.
    pub last_at: Option<DateTime<Utc>>,
    /// Those whose last replay differs, by number.
    pub differing: Vec<Differing>,
}

impl Store {
    /// When estimates were last replayed.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn last_replay(&self) -> Result<Option<DateTime<Utc>>> {
        sqlx::query_scalar!("select replayed_at from replay order by replay_id desc limit 1")
            .fetch_optional(&self.pool)
            .await
            .named("last_replay")
    }

    /// Estimates to be replayed: so many at random of those that this version of the formulas made, and those whose last
    /// replay differs.
    ///
    /// # Errors
    /// When Postgres fails or an estimate cannot be read.
    pub async fn sample_estimates(&self, size: u32, calculator: i32) -> Result<Vec<StoredEstimate>> {
        let rows = sqlx::query_as!(
            EstimateRecord,
            r#"with ends as (select min(estimate_id) as first, max(estimate_id) as last from estimate),
            drawn as (select (first + floor(random() * (last - first + 1)))::bigint as at
                from ends, generate_series(1, $1) where first is not null),
            sample as (select (select estimate_id from estimate where estimate_id >= at order by estimate_id limit 1) from drawn
                union select estimate_id from (select distinct on (estimate_id) estimate_id, verdict from replay
                    where estimate_id in (select estimate_id from replay where verdict = 'differs')
                    order by estimate_id, replay_id desc) last where verdict = 'differs')
            select e.estimate_id, e.version_id, e.output_id, e.slice, e.window_name, e.window_from, e.window_to, e.known_at,
                e.recorded, e.plan_id, e.reference_id, e.input_digest, e.calculator, e.metrics::text as "metrics!", e.estimated_at
            from sample join estimate e using (estimate_id) where e.calculator = $2 order by e.estimate_id"#,
            i32::try_from(size).unwrap_or(i32::MAX),
            calculator
        )
        .fetch_all(&self.pool)
        .await
        .named("sample_estimates")?;
        rows.into_iter().map(StoredEstimate::try_from).collect()
    }

    /// Append what came of replays. What differs is audited.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn add_replays(&self, lease: &Lease, replays: &[NewReplay], now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.begin().await?;
        lease::check(&mut transaction, lease).await?;
        let seal = super::seal::open(&mut transaction).await?;
        sqlx::query!(
            "insert into replay (estimate_id, verdict, words, replayed_at)
            select estimate_id, verdict, words, $4 from unnest($1::bigint[], $2::text[], $3::text[])
                with ordinality as t (estimate_id, verdict, words, place) order by place",
            &replays.iter().map(|replay| replay.estimate_id).collect::<Vec<_>>(),
            &replays.iter().map(|replay| replay.verdict.to_owned()).collect::<Vec<_>>(),
            &replays.iter().map(|replay| replay.words.clone()).collect::<Vec<_>>(),
            now
        )
        .execute(&mut *transaction)
        .await
        .named("insert_replays")?;
        super::seal::close(&mut transaction, seal, &["replay"]).await?;
        for verdict in ["agrees", "differs", "cannot"] {
            let own = replays.iter().filter(|replay| replay.verdict == verdict).count() as u64;
            super::status::count(&mut transaction, ("replay", "", verdict), own).await?;
        }
        for replay in replays.iter().filter(|replay| replay.verdict == "differs") {
            let (subject, detail) = (format!("estimate {}", replay.estimate_id), serde_json::json!({}));
            super::audit::append(&mut transaction, now, "dosimeter", "replay differs", &subject, &replay.words, detail)
                .await?;
        }
        lease::commit(transaction, lease, "add_replays").await
    }

    /// What the replays have come to, by model; a model without estimates that were replayed is absent.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn replay_states(&self) -> Result<BTreeMap<String, ReplayState>> {
        let mut states: BTreeMap<String, ReplayState> = BTreeMap::new();
        let rows = sqlx::query!(
            r#"select model.name as model, count(*) as "replayed!", max(replayed.at) as last_at
            from (select estimate_id, max(replayed_at) as at from replay group by estimate_id) replayed
                cross join lateral (select version_id from estimate e where e.estimate_id = replayed.estimate_id limit 1) estimate
                join model_version using (version_id) join model using (model_id)
            group by model.name"#
        )
        .fetch_all(&self.pool)
        .await
        .named("replay_states")?;
        for row in rows {
            let state = ReplayState { replayed: row.replayed, last_at: row.last_at, differing: Vec::new() };
            states.insert(row.model, state);
        }
        let rows = sqlx::query!(
            r#"select model.name as model, last.estimate_id as "estimate_id!", last.words as "words!", (select min(replayed_at) from replay r
                where r.estimate_id = last.estimate_id and r.verdict = 'differs') as "since!"
            from (select distinct on (estimate_id) estimate_id, verdict, words from replay
                where estimate_id in (select estimate_id from replay where verdict = 'differs')
                order by estimate_id, replay_id desc) last
            join estimate using (estimate_id) join model_version using (version_id) join model using (model_id)
            where last.verdict = 'differs' order by last.estimate_id"#
        )
        .fetch_all(&self.pool)
        .await
        .named("list_differing")?;
        for row in rows {
            let differing = Differing { estimate_id: row.estimate_id, words: row.words, since: row.since };
            states.entry(row.model).or_default().differing.push(differing);
        }
        Ok(states)
    }
}
