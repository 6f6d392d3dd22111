//! Objects of a store: fetched into a file, then on the way of files.

use super::file::{FileIntake, Identity};
use super::pull::{Pass, Reached, Stopped};
use super::way::Way;
use super::{Patience, Tally};
use crate::config::{Objects as Plan, Pull};
use crate::source::bucket::{Bucket, Object};
use crate::source::feed::Failure;
use crate::source::file::Candidate;
use crate::store::cursor::CursorProgress;
use crate::store::file::Held;

/// Take in the objects that have not been, by their keys.
pub(super) async fn read(
    way: &Way<'_>,
    plan: &Plan,
    pull: &Pull,
    pass: &mut Pass,
    tally: &mut Tally,
) -> Result<Reached, Stopped> {
    let bucket = Bucket::open(plan, pull.pace.timeout)?;
    let (store, name) = (&way.context.store, &way.source.name);
    let known = store.load_cursors(name).await?.into_iter().find(|cursor| cursor.mapping == way.mapping);
    let before = known.as_ref().and_then(|cursor| cursor.position.as_str()).filter(|_| plan.ascending);
    let listed = bucket.list(before).await?;
    let finished = store.finished_files(name, &way.mapping).await?;
    let mut new = listed.iter().filter(|object| !finished.contains(&held(object)));
    let (mut after, mut is_whole) = (before.map(str::to_owned), true);
    if new.clone().next().is_none() {
        after = listed.last().map(|object| object.key.clone()).or(after);
    }
    for object in new.by_ref() {
        let rows = tally.accepted + tally.duplicates + tally.rejected;
        is_whole &= take_in(way, plan, &bucket, object, tally).await?;
        let rows = tally.accepted + tally.duplicates + tally.rejected - rows;
        pass.pay(usize::try_from(rows).unwrap_or(usize::MAX));
        if is_whole {
            after = Some(object.key.clone());
        }
        if pass.is_over() {
            break;
        }
    }
    let pending = new.count() as u64;
    if plan.ascending
        && let Some(after) = after.filter(|after| before != Some(after))
    {
        let cursor = CursorProgress {
            partition: String::new(),
            position: after.into(),
            mapping: way.mapping.clone(),
            newest_at: tally.newest_at,
        };
        store.move_cursor(way.lease, name, &cursor, way.context.clock.now()).await?;
    }
    Ok(Reached { is_last: pending == 0, pending: Some(pending) })
}

fn held(object: &Object) -> Held {
    (object.address.clone(), object.bytes, object.modified_at, object.tag.clone())
}

/// Whether an object was taken in to its end; one that was written anew meanwhile is not, and is listed again.
async fn take_in(
    way: &Way<'_>,
    plan: &Plan,
    bucket: &Bucket,
    object: &Object,
    tally: &mut Tally,
) -> Result<bool, Stopped> {
    let disk =
        |error: std::io::Error| Failure::Server(format!("there is no room for objects on the disk here: {error}"));
    let folder = tempfile::tempdir().map_err(disk)?;
    let path = bucket.fetch(object, folder.path()).await?;
    let Some(candidate) = Candidate::at(path).filter(|candidate| candidate.bytes == object.bytes) else {
        return Ok(false);
    };
    let (path, bytes, modified_at, tag) = held(object);
    let identity = Identity { path, bytes, modified_at, tag };
    let intake =
        FileIntake { way, format: plan.format, settle: std::time::Duration::ZERO, candidate: &candidate, identity };
    let Some(inspection) = intake.inspect(Patience::Everything).await? else { return Ok(false) };
    intake.take_in(&inspection, tally).await?;
    Ok(true)
}
