//! What is written in the hope that none of it stands there already: undone, and done with care, where some of it does.
//!
//! Looking every row of a large batch up before it is written costs as much as writing it, and nearly always nothing is found. So a
//! few are looked up, and if none of those is known all are written at once; the tables' own keys find one that is.

use super::{Error, Named, Result, Transaction};

/// So many rows of a large batch are looked up before all are taken for new.
pub(super) const SAMPLE: usize = 64;

/// Some of so many places, spread evenly.
pub(super) fn spread(places: usize) -> impl Iterator<Item = usize> {
    (0..places).step_by(places.div_ceil(SAMPLE).max(1))
}

/// Begin an attempt.
pub(super) async fn begin(transaction: &mut Transaction) -> Result<()> {
    sqlx::raw_sql("savepoint attempt").execute(&mut **transaction).await.named("savepoint")?;
    Ok(())
}

/// End an attempt with what became of it. `false` when a row stood there already, and none was written.
pub(super) async fn end(transaction: &mut Transaction, written: Result<()>) -> Result<bool> {
    match written {
        Ok(()) => {
            sqlx::raw_sql("release savepoint attempt").execute(&mut **transaction).await.named("release_savepoint")?;
            Ok(true)
        }
        Err(Error::Statement { source: sqlx::Error::Database(error), .. }) if error.is_unique_violation() => {
            sqlx::raw_sql("rollback to savepoint attempt").execute(&mut **transaction).await.named("undo_attempt")?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_all_and_never_much_larger_than_wanted() {
        for places in [0, 1, 63, 64, 65, 1000, 20_000] {
            let sample: Vec<usize> = spread(places).collect();
            assert!(sample.len() <= SAMPLE && sample.len() >= SAMPLE.min(places) / 2, "{} of {places}", sample.len());
            assert!(sample.iter().all(|place| *place < places));
            assert!(sample.last().is_none_or(|last| places - last <= places.div_ceil(SAMPLE)), "to the end");
        }
    }
}
