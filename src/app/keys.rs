//! The secrets that the daemon works with: the key of the pseudonyms, and the ring of keys that encrypt.

use std::path::Path;

use anyhow::Context as _;

use crate::config::{CaseIds, Plan, Secret};
use crate::intake::Pseudonyms;
use crate::store::Store;
use crate::store::key::KeyUse;
use crate::store::server::{random_text, write_private};
use crate::vault::Ring;

/// The key of the pseudonyms; one may be made only for a database that has never seen another.
pub(super) fn pseudonyms(plan: &Plan, may_make: bool) -> anyhow::Result<Pseudonyms> {
    let key = match (&plan.identity.key, plan.identity.case_ids) {
        (Some(key), _) => key.clone(),
        (None, CaseIds::Pseudonym) => Secret::new(""),
        (None, CaseIds::Hash) => generated_key(&plan.service.data_dir, may_make)?,
    };
    Ok(Pseudonyms::new(plan.identity.case_ids, &key).resolvable(plan.identity.resolvable))
}

/// The file of the ring of keys in the data directory.
pub const RING: &str = "encryption.keys";

/// The store with the ring of keys that encrypts identifiers and refused records: the plan's, or that of the data directory. One
/// may be made only for a database in which nothing is encrypted yet; who only looks makes none.
pub(super) async fn with_ring(store: Store, plan: &Plan, may_make: bool) -> anyhow::Result<Store> {
    let path = plan.service.data_dir.join(RING);
    let ring = match (&plan.identity.ring, std::fs::read_to_string(&path)) {
        (Some(ring), _) => Some(ring.clone()),
        (None, Ok(text)) => Some(
            Ring::parse(&text)
                .with_context(|| format!("{} is no key ring; restore it from a backup", path.display()))?,
        ),
        (None, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            anyhow::ensure!(
                !may_make || !store.is_anything_sealed().await?,
                "{} is missing, and identifiers or refused records of the database are encrypted: restore it from a backup, or \
                 set DOSIMETER_ENCRYPTION_KEY or identity.encryption_key_file. If it is lost for good, so is what it encrypted; \
                 write a new one with `openssl rand -hex 32`, and everything else goes on",
                path.display()
            );
            if may_make { Some(made_ring(&path)?) } else { None }
        }
        (None, Err(error)) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    if let Some(ring) = &ring {
        let lost = store.list_keys().await?.into_iter().filter(|key| ring.ids().all(|id| id != key.key_id));
        for KeyUse { key_id, identifiers, rejections } in lost {
            tracing::warn!(
                key_id,
                identifiers,
                rejections,
                "what this key encrypted cannot be read: it is not in the key ring; restore it from a backup"
            );
        }
    }
    Ok(store.with_ring(ring))
}

fn made_ring(path: &Path) -> anyhow::Result<Ring> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    write_private(path, &format!("{}\n", random_text()))?;
    tracing::info!(file = %path.display(), "made the key ring of identifiers and refused records; back it up");
    Ok(Ring::parse(&std::fs::read_to_string(path)?)?)
}

/// The key in the data directory, made once. Without it the same case has another pseudonym: back it up.
fn generated_key(data_dir: &Path, may_make: bool) -> anyhow::Result<Secret> {
    let path = data_dir.join("identity.key");
    match std::fs::read_to_string(&path) {
        Ok(key) if key.trim().len() >= 32 => Ok(Secret::new(key.trim())),
        Ok(_) => anyhow::bail!("{} is no identity key; restore it from a backup", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !may_make => anyhow::bail!(
            "{} is missing, and the database's cases were pseudonymised with a key: restore it from a backup, or set \
             DOSIMETER_IDENTITY_KEY or identity.key_file",
            path.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(data_dir).with_context(|| format!("cannot make {}", data_dir.display()))?;
            write_private(&path, &random_text())?;
            tracing::info!(file = %path.display(), "made the key of the pseudonyms; back it up");
            Ok(Secret::new(std::fs::read_to_string(&path)?.trim()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
