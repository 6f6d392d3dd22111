//! Plans: every configuration that was ever in force.

use chrono::{DateTime, Utc};

use super::{Error, Named, Result, Store};

/// A plan that is or was in force.
#[derive(Clone, Debug)]
pub struct StoredPlan {
    /// Its number.
    pub plan_id: i32,
    /// SHA-256 of the canonical body.
    pub digest: String,
    /// The canonical body, without secrets.
    pub body: serde_json::Value,
    /// When it was first adopted.
    pub adopted_at: DateTime<Utc>,
}

/// A plan in a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = PlanListed)]
pub struct PlanRow {
    /// Its number.
    pub plan_id: i32,
    /// SHA-256 of the canonical body.
    pub digest: String,
    /// When it was first adopted.
    pub adopted_at: DateTime<Utc>,
    /// Whether it is the one in force: the one adopted last.
    pub in_force: bool,
}

impl Store {
    /// A plan.
    ///
    /// # Errors
    /// When there is none of this number, or Postgres fails.
    pub async fn load_plan(&self, plan_id: i32) -> Result<StoredPlan> {
        let found = sqlx::query_as!(
            StoredPlan,
            "select plan_id, digest, body, adopted_at from plan where plan_id = $1",
            plan_id
        )
        .fetch_optional(&self.pool)
        .await
        .named("load_plan")?;
        found.ok_or_else(|| Error::Missing(format!("there is no plan {plan_id}")))
    }

    /// The plans, the latest first: those with a lower number than `before`. Which one was in force is that of an instant; now
    /// without.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn page_plans(
        &self,
        as_of: Option<DateTime<Utc>>,
        before: Option<i32>,
        limit: i64,
    ) -> Result<Vec<PlanRow>> {
        let in_force = self.find_plan_as_of(as_of).await?;
        sqlx::query_as!(
            PlanRow,
            r#"select plan_id, digest, adopted_at, coalesce(plan_id = $1, false) as "in_force!" from plan
            where ($2::timestamptz is null or adopted_at <= $2) and ($3::integer is null or plan_id < $3)
            order by plan_id desc limit $4"#,
            in_force,
            as_of,
            before,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .named("page_plans")
    }

    /// The plan that was in force at an instant; now without.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn find_plan_as_of(&self, as_of: Option<DateTime<Utc>>) -> Result<Option<i32>> {
        sqlx::query_scalar!(
            "select plan_id from plan where digest = (select subject from audit
                where action = 'plan adopted' and ($1::timestamptz is null or at <= $1) order by audit_id desc limit 1)",
            as_of
        )
        .fetch_optional(&self.pool)
        .await
        .named("find_plan_as_of")
    }
}
