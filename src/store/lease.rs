//! Leases: which process may run a job. Times are Postgres's own, the only clock that replicas share. A lease that lasts
//! longer than it was given for was given by a clock that has been set back since: it is over.

use std::time::Duration;

use super::{Error, Named, Result, Store};

/// A lease that this process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub name: String,
    /// Number of the holding; it grows with every new holder.
    pub fencing: i64,
    /// How long it holds without being prolonged.
    pub length: Duration,
}

/// A lease as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// The job.
    pub name: String,
    /// The process that holds it, or held it last.
    pub holder: String,
    /// Number of the holding.
    pub fencing: i64,
    /// Whether it is held now.
    pub held: bool,
}

impl Store {
    /// Every lease that there ever was.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_leases(&self) -> Result<Vec<LeaseRow>> {
        sqlx::query_as!(
            LeaseRow,
            r#"select name, holder, fencing, (expires_at >= clock_timestamp()
                and expires_at <= clock_timestamp() + make_interval(secs => seconds + 1)) as "held!" from lease order by name"#
        )
        .fetch_all(&self.pool)
        .await
        .named("list_leases")
    }

    /// Take or prolong a lease; `None` while another process holds it.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn take_lease(&self, name: &str, holder: &str, length: Duration) -> Result<Option<Lease>> {
        let fencing: Option<i64> = sqlx::query_scalar(
            "insert into lease (name, holder, fencing, expires_at, seconds)
            values ($1, $2, 1, clock_timestamp() + make_interval(secs => $3), $3)
            on conflict (name) do update set
                holder = excluded.holder,
                expires_at = excluded.expires_at,
                seconds = excluded.seconds,
                fencing = lease.fencing + case when lease.holder = excluded.holder then 0 else 1 end
            where lease.holder = excluded.holder or lease.expires_at < clock_timestamp()
                or lease.expires_at > clock_timestamp() + make_interval(secs => lease.seconds + 1)
            returning fencing",
        )
        .bind(name)
        .bind(holder)
        .bind(length.as_secs_f64())
        .fetch_optional(&self.pool)
        .await
        .named("take_lease")?;
        Ok(fencing.map(|fencing| Lease { name: name.to_owned(), fencing, length }))
    }

    /// Give a lease back, unless it has another holder by now.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn release_lease(&self, lease: &Lease) -> Result<()> {
        sqlx::query!(
            "update lease set expires_at = '-infinity' where name = $1 and fencing = $2",
            lease.name,
            lease.fencing
        )
        .execute(&self.pool)
        .await
        .named("release_lease")?;
        Ok(())
    }

    /// Give every lease of a holder back.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn release_leases(&self, holder: &str) -> Result<()> {
        sqlx::query!("update lease set expires_at = '-infinity' where holder = $1", holder)
            .execute(&self.pool)
            .await
            .named("release_leases")?;
        Ok(())
    }
}

/// Refuse to go on in a transaction whose lease has a later holder; hold the row until the commit.
pub(super) async fn check(transaction: &mut super::Transaction, lease: &Lease) -> Result<()> {
    let current = sqlx::query_scalar!("select fencing from lease where name = $1 for update", lease.name)
        .fetch_optional(&mut **transaction)
        .await
        .named("check_lease")?;
    if current == Some(lease.fencing) { Ok(()) } else { Err(Error::LeaseLost(lease.name.clone())) }
}

/// Commit a transaction that `check` has let through, and prolong the lease with it: whoever waited for the row finds it
/// held, however long the transaction took.
pub(super) async fn commit(mut transaction: super::Transaction, lease: &Lease, statement: &'static str) -> Result<()> {
    sqlx::query!(
        "update lease set expires_at = clock_timestamp() + make_interval(secs => $3) where name = $1 and fencing = $2",
        lease.name,
        lease.fencing,
        lease.length.as_secs_f64()
    )
    .execute(&mut *transaction)
    .await
    .named("prolong_lease")?;
    transaction.commit().await.named(statement)
}
