//! The evidence bundle: what was published, decided and done about one version in one period, as one archive that is read without
//! the daemon.
//!
//! Everything in it is bounded by an instant and a batch number, and nothing depends on when it is made: the same question gives the
//! same bytes. Must never: hold a case, a subject or a secret.
//! Look next at [`make`], and at `report` for what people read first.

pub mod archive;
mod report;
mod tables;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::domain::Window;
use crate::domain::window::show_instant;
use crate::job::Context;
use crate::person::Person;
use crate::store::bundle::{Bounds, Object, Published};
use crate::table::{Table, text};
use crate::verify::{self, Depth};

/// The most estimates that a bundle holds.
pub const MOST_ESTIMATES: i64 = 20_000;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The model.
    pub model: String,
    /// The version; may be left out while the model has only one.
    pub version: Option<String>,
    /// The period: windows that end in it, days that lie in it, alerts that were open in it.
    pub period: Window,
    /// As published up to then; now if left out.
    pub as_of: Option<DateTime<Utc>>,
    /// Batches up to this one; those of `as_of` if left out.
    pub recorded: Option<i64>,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It names something that does not exist; the message names what does.
    #[error("{0}")]
    Unknown(String),
    /// It asks for what cannot be given; the message says what can.
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// A table could not be written.
    #[error(transparent)]
    Table(#[from] crate::table::Error),
    /// The archive could not be written.
    #[error("the archive cannot be written")]
    Archive(#[from] zip::result::ZipError),
}

/// A bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The name that its file should have.
    pub name: String,
    /// The archive.
    pub bytes: Vec<u8>,
}

/// What the bundle is about, by name: what its pages say of themselves.
#[derive(Clone, Debug)]
struct Subject {
    model: String,
    version: String,
    bounds: Bounds,
}

impl Subject {
    /// The command that makes the same bundle.
    fn command(&self) -> String {
        let Bounds { period, as_of, recorded, .. } = self.bounds;
        format!(
            "dosimeter bundle --model {} --version {} --from {} --to {} --as-of {} --recorded {recorded} --reason comparison --out {}.zip",
            quoted(&self.model),
            quoted(&self.version),
            exact(period.from),
            exact(period.to),
            exact(as_of),
            quoted(&self.name())
        )
    }

    /// A name of the same letters everywhere.
    fn name(&self) -> String {
        let plain = |text: &str| -> String {
            text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' }).collect()
        };
        let day = |at: DateTime<Utc>| at.format("%Y%m%d").to_string();
        let Window { from, to } = self.bounds.period;
        format!("evidence-{}-{}-{}-{}", plain(&self.model), plain(&self.version), day(from), day(to))
    }
}

/// Everything that the pages are written from.
struct Material {
    subject: Subject,
    published: Vec<Published>,
    tables: Vec<(&'static str, Table)>,
    plans: Vec<Object>,
    verification: String,
}

/// Make a bundle, and note in the audit trail who did and why.
///
/// # Errors
/// When the model or version does not exist, there is too much, or the store fails.
pub async fn make(context: &Context, asked: &Asked, person: &Person) -> Result<Bundle, Error> {
    let now = context.clock.now();
    let subject = subject(context, asked, now).await?;
    let estimates = context.store.count_bundled(subject.bounds).await?;
    if estimates > MOST_ESTIMATES {
        return Err(Error::Refused(format!(
            "the period has {estimates} estimates of {} {}, and a bundle holds at most {MOST_ESTIMATES}: ask for a shorter one",
            subject.model, subject.version
        )));
    }
    let mut found = context.store.load_bundle(subject.bounds).await?;
    let verified = verify::verify(&context.store, Depth::Chain).await?;
    let verification = verification(&subject, &verified, &found.audit, &found.batch);
    let tables = tables::all(&mut found);
    let material = Material { subject, published: found.published, tables, plans: found.plans, verification };
    let name = material.subject.name();
    let (material, bytes) = tokio::task::spawn_blocking(move || {
        let bytes = written(&material)?;
        Ok::<_, Error>((material, bytes))
    })
    .await
    .map_err(|error| Error::Refused(format!("the bundle was not written: {error}")))??;
    let Subject { model, version, bounds } = &material.subject;
    let detail = json!({
        "from": exact(bounds.period.from), "to": exact(bounds.period.to), "as_of": exact(bounds.as_of), "recorded": bounds.recorded,
        "sha256": crate::chain::hex(&<sha2::Sha256 as sha2::Digest>::digest(&bytes)),
    });
    context.store.note_bundle(person.words(), &format!("{model} {version}"), detail, now).await?;
    Ok(Bundle { name: format!("{name}.zip"), bytes })
}

/// What is asked, with its numbers.
async fn subject(context: &Context, asked: &Asked, now: DateTime<Utc>) -> Result<Subject, Error> {
    let Asked { model, version, period, as_of, recorded } = asked;
    // To the millisecond, so that it can be written down and asked again.
    let as_of = as_of.or(DateTime::from_timestamp_millis(now.timestamp_millis())).unwrap_or(now);
    if period.from >= period.to {
        return Err(Error::Refused(format!("the period {period} is empty: --to must be after --from")));
    }
    if as_of > now {
        let (at, now) = (show_instant(as_of), show_instant(now));
        return Err(Error::Refused(format!("nothing is known yet as of {at}: it is {now}")));
    }
    let versions = context.store.list_versions().await?;
    let mut own = versions.into_iter().filter(|known| known.model == *model).collect::<Vec<_>>();
    let names = own.iter().map(|known| known.name.clone()).collect::<Vec<_>>().join(", ");
    own.retain(|known| version.as_ref().is_none_or(|name| known.name == *name));
    let found = match own.as_slice() {
        [only] => only,
        _ if names.is_empty() => {
            return Err(Error::Unknown(format!("there is no model {model:?} that has made a prediction")));
        }
        _ => return Err(Error::Unknown(format!("name one version of {model}: {names}"))),
    };
    let last = context.store.last_batch_at(as_of).await?;
    let recorded = recorded.map_or(last, |recorded| recorded.min(last));
    let bounds = Bounds { version_id: found.version_id, period: *period, as_of, recorded };
    Ok(Subject { model: model.clone(), version: found.name.clone(), bounds })
}

/// The archive.
fn written(material: &Material) -> Result<Vec<u8>, Error> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, table) in &material.tables {
        files.insert(format!("data/{name}.csv"), table.csv()?);
        files.insert(format!("data/{name}.parquet"), table.parquet()?);
    }
    for plan in &material.plans {
        let name = plan.get("plan_id").map(ToString::to_string).unwrap_or_default();
        // In its canonical form, whatever the database made of its spaces: its digest is the plan's.
        let body = plan.get("body").and_then(Value::as_str).unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        files.insert(format!("plan-{name}.json"), body.to_string().into_bytes());
    }
    files.insert("verification.txt".to_owned(), material.verification.clone().into_bytes());
    files.insert("report.html".to_owned(), report::html(material).into_bytes());
    files.insert("README.txt".to_owned(), readme(material).into_bytes());
    Ok(archive::pack(&material.subject.name(), files)?)
}

/// What the chains say. Nothing here grows with time while everything fits: only what is bounded is counted.
fn verification(subject: &Subject, verified: &verify::Report, audit: &[Object], batch: &[Object]) -> String {
    let Bounds { as_of, recorded, .. } = subject.bounds;
    let said = |object: &Object, name: &str| object.get(name).and_then(text).unwrap_or_default();
    // Bytes as the database writes them.
    let hash = |object: &Object| said(object, "hash").trim_start_matches("\\x").to_owned();
    let mut lines =
        vec![format!("Verification of {} {} as of {}", subject.model, subject.version, exact(as_of)), String::new()];
    lines.push(if verified.is_sound() {
        "The chains of the installation were walked when this bundle was made: everything fits.".to_owned()
    } else {
        format!("The chains of the installation DO NOT FIT: {} breach(es).", verified.breaches.len())
    });
    for breach in &verified.breaches {
        lines.push(format!("  {}, {}: {}", breach.relation, breach.row, breach.what));
    }
    lines.push(String::new());
    if let (Some(first), Some(last)) = (audit.first(), audit.last()) {
        lines.push(format!("Audit trail: entries {} to {}", said(first, "audit_id"), said(last, "audit_id")));
        lines.push(format!("  hash before the first  {}", said(first, "previous_hash")));
        lines.push(format!("  hash of the last       {}", hash(last)));
    } else {
        lines.push("Audit trail: no entry since the period began".to_owned());
    }
    lines.push(format!("Batches: up to {recorded}"));
    if let Some(hash) = batch.first().map(hash).filter(|hash| !hash.is_empty()) {
        lines.push(format!("  hash of the last       {hash}"));
    }
    lines.push(String::new());
    lines.push("`dosimeter audit verify --full` on the installation walks every row; docs/audit.md says how the hashes are made.".to_owned());
    lines.join("\n") + "\n"
}

fn readme(material: &Material) -> String {
    let subject = &material.subject;
    let Bounds { period, as_of, recorded, .. } = subject.bounds;
    let tables: String = material
        .tables
        .iter()
        .map(|(name, table)| format!("  data/{name}.csv, .parquet   {} ({} rows)\n", table.about, table.rows.len()))
        .collect();
    format!(
        "Evidence bundle of the model {model}, version {version}\n\
         Period {from} to {to}, as published up to {as_of}, batches up to {recorded}\n\n\
         Begin with report.html: it opens in any browser, asks for nothing outside, and prints to PDF.\n\n\
         What is here\n\
         \x20 report.html         for people\n\
         \x20 verification.txt    what the chains of hashes say\n\
         \x20 plan-*.json         the monitoring plans that asked\n\
         {tables}\
         \x20 MANIFEST.sha256     the digest of every file\n\n\
         Every time is UTC. What has no value says why in the column `undefined`; an empty cell is no zero.\n\
         No case and no patient is named here.\n\n\
         How to check it\n\
         1. That no file was changed since:  sha256sum --check MANIFEST.sha256\n\
         2. That it says what the installation knows: the same command there makes the same bytes:\n\
         \x20  {command}\n\
         3. That nobody changed what the installation knows: compare the hashes of verification.txt with those that were\n\
         \x20  anchored outside, and run `dosimeter audit verify --full` there.\n\
         4. Any number: `dosimeter replay ESTIMATE_ID` on the installation computes it again from what was recorded then;\n\
         \x20  the numbers are the column estimate_id.\n\n\
         The SHA-256 of this archive stands in the installation's audit trail, with who made it and why.\n\
         Made by dosimeter {release}.\n",
        model = subject.model,
        version = subject.version,
        from = exact(period.from),
        to = exact(period.to),
        as_of = exact(as_of),
        command = subject.command(),
        release = env!("CARGO_PKG_VERSION"),
    )
}

/// An instant to the microsecond, as arguments take it.
fn exact(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// A word of a command line.
fn quoted(text: &str) -> String {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c)) && !text.is_empty();
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
