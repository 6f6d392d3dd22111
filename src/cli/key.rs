//! `dosimeter key`: the ring of keys that encrypts identifiers and refused records.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use clap::Subcommand;

use super::{ConfigArg, PersonArgs, show, with_app};
use crate::app::RING;
use crate::job::Context;
use crate::store::server::random_text;
use crate::vault::Ring;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// The keys of the ring and of the database, by id, with what each encrypts.
    List {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Put a new key first and encrypt everything anew with it. Killed, it goes on where it ended.
    ///
    /// The ring of the data directory gets its new key here. A ring that the configuration names gets it by hand: write it as the
    /// first line, send the daemon SIGHUP, then run this.
    Rotate {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        person: PersonArgs,
    },
}

pub(super) fn run(command: KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::List { config } => with_app(&config, async |app| {
            print!("{}", list(&app.context()).await?);
            Ok(())
        }),
        KeyCommand::Rotate { config, person } => {
            with_app(&config, async move |app| rotate(&app.context(), &person).await)
        }
    }
}

async fn list(context: &Context) -> anyhow::Result<String> {
    let used = context.store.list_keys().await?;
    let ring: Vec<&str> = context.store.ring().map(|ring| ring.ids().collect()).unwrap_or_default();
    let lost = used.iter().map(|key| key.key_id.as_str()).filter(|id| !ring.contains(id));
    let header = ["key", "", "identifiers", "refused records"].map(str::to_owned);
    let rows = ring.iter().copied().chain(lost).enumerate().map(|(place, id)| {
        let standing = match ring.iter().position(|known| *known == id) {
            Some(0) if place == 0 => "encrypts",
            Some(_) => "decrypts",
            None => "not in the ring",
        };
        let key = used.iter().find(|key| key.key_id == id);
        let count = |read: fn(&crate::store::key::KeyUse) -> i64| key.map_or(0, read).to_string();
        [id.to_owned(), standing.to_owned(), count(|key| key.identifiers), count(|key| key.rejections)]
    });
    Ok(show::columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>()))
}

#[allow(clippy::single_match_else, reason = "both ways are of equal weight")]
async fn rotate(context: &Context, person: &PersonArgs) -> anyhow::Result<()> {
    let person = person.person()?;
    let path = context.plan.service.data_dir.join(RING);
    // Two rotations at once could each write a ring without the other's key.
    let lock = std::fs::File::create(path.with_extension("lock")).context("cannot lock the key ring")?;
    lock.try_lock().map_err(|_| anyhow::anyhow!("another rotation is under way; wait for its end"))?;
    let ring = match &context.plan.identity.ring {
        Some(ring) => ring.clone(),
        None => {
            let text = std::fs::read_to_string(&path);
            let text = text.with_context(|| format!("cannot read {}; has the daemon run yet?", path.display()))?;
            let ring = Ring::parse(&text)?;
            let is_begun = context.store.list_keys().await?.iter().any(|key| key.key_id != ring.newest());
            // What an earlier rotation left undone comes first.
            if is_begun { ring } else { put_first(&path, &text)? }
        }
    };
    let mut rows = 0;
    loop {
        let changed = context.store.reseal(&ring).await?;
        if changed == 0 {
            break;
        }
        rows += changed;
    }
    let (by, reason) = person.words();
    context.store.note_rotation(ring.newest(), rows, by, reason, context.clock.now()).await?;
    println!("key {} encrypts everything now; {rows} rows were encrypted anew", ring.newest());
    println!("send the daemon SIGHUP, so that it encrypts with it as well, and back the ring up: {}", path.display());
    Ok(())
}

/// Put a new key before those of a ring, durably: nothing is encrypted with a key that a crash could take away.
fn put_first(path: &Path, text: &str) -> anyhow::Result<Ring> {
    let text = format!("{}\n{text}", random_text());
    let ring = Ring::parse(&text)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut part =
        tempfile::NamedTempFile::new_in(dir).with_context(|| format!("cannot write into {}", dir.display()))?;
    part.write_all(text.as_bytes())?;
    part.as_file().sync_all()?;
    part.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    std::fs::File::open(dir)?.sync_all()?;
    Ok(ring)
}
