//! One instant of the database, for whoever reads a lot of it and wants it to fit together.

use super::{Result, Store, Transaction};

/// A transaction that sees one instant and changes nothing.
#[derive(Debug)]
pub struct Look(pub(super) Transaction);

impl Store {
    /// See one instant of the database, for as long as the look is kept.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn look(&self) -> Result<Look> {
        Ok(Look(self.snapshot().await?))
    }
}
