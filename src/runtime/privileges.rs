//! Never root: Postgres refuses it, and a monitor needs no such power.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use nix::unistd::{Uid, User, chown, setgid, setgroups, setuid};

/// If the process runs as root, make the data directory (and whatever else it `writes` to) and become the ordinary user who
/// owns it.
///
/// Call this before any thread is started. Returns the user's name, or `None` when the process was an ordinary one.
///
/// # Errors
/// When there is no ordinary user to become, or the system refuses.
pub fn drop_root(data_dir: &Path, writes: Option<&Path>, run_as: Option<&str>) -> anyhow::Result<Option<String>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let user = ordinary_user(data_dir, run_as)?;
    for dir in std::iter::once(data_dir).chain(writes) {
        hand_over(dir, &user)?;
    }
    setgroups(&[user.gid])?;
    setgid(user.gid)?;
    setuid(user.uid)?;
    Ok(Some(user.name))
}

fn ordinary_user(data_dir: &Path, run_as: Option<&str>) -> anyhow::Result<User> {
    if let Some(name) = run_as {
        let user = User::from_name(name)?
            .ok_or_else(|| anyhow::anyhow!("database.run_as names {name:?}, and there is no such user"))?;
        anyhow::ensure!(!user.uid.is_root(), "database.run_as must name an ordinary user, not root");
        return Ok(user);
    }
    if let Ok(metadata) = fs::metadata(data_dir)
        && metadata.uid() != 0
        && let Some(owner) = User::from_uid(Uid::from_raw(metadata.uid()))?
    {
        return Ok(owner);
    }
    for name in ["dosimeter", "postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(user);
        }
    }
    anyhow::bail!("started as root and found no ordinary user to become; name one as database.run_as")
}

/// Make a directory that belongs to the user, or see that it does. One that is in use by root is not taken over: it may
/// hold anything.
fn hand_over(dir: &Path, user: &User) -> anyhow::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let metadata = fs::metadata(dir)?;
    if metadata.uid() == user.uid.as_raw() {
        return Ok(());
    }
    let is_empty = fs::read_dir(dir)?.next().is_none();
    anyhow::ensure!(
        is_empty,
        "started as root, going on as {name}, but {dir} is not empty and belongs to another user. Name another directory, \
         or hand it over: chown -R {name} {dir}",
        name = user.name,
        dir = dir.display()
    );
    chown(dir, Some(user.uid), Some(user.gid))?;
    Ok(())
}
