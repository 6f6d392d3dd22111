//! A private Postgres in the data directory, for whoever names no server.
//!
//! `pg_ctl` starts and stops it; it survives a daemon that is killed and is taken over by the next one. The crate
//! `postgresql_embedded` was looked at first and does not fit: it starts the server with `-F` (no fsync, so nothing
//! acknowledged is durable), takes a stale `postmaster.pid` for a running server, picks the port on all addresses, asks for
//! passwords in clear text and accepts any version of the data directory.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{Flock, FlockArg};

/// Why there is no private Postgres.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No installation was found.
    #[error(
        "no Postgres found (looked in {looked}). Install it (Debian/Ubuntu: apt-get install postgresql; Fedora: dnf install \
         postgresql-server; macOS: brew install postgresql@16), name its folder as database.bin_dir, or set DATABASE_URL"
    )]
    NotInstalled {
        /// Where.
        looked: String,
    },
    /// The data directory belongs to another major version.
    #[error(
        "the data directory {dir} was made by Postgres {found}, but the installed one is {installed}. Install Postgres \
         {found} beside it and name its folder as database.bin_dir, or move the data with pg_upgrade"
    )]
    OtherVersion {
        /// The directory.
        dir: PathBuf,
        /// Its major version.
        found: String,
        /// The installed major version.
        installed: String,
    },
    /// A file cannot be read or written.
    #[error("cannot use {path}; does it belong to the user that runs dosimeter?")]
    Files {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A Postgres program failed.
    #[error("{program} failed: {output}")]
    Program {
        /// Which.
        program: String,
        /// What it printed.
        output: String,
    },
}

type Result<T> = std::result::Result<T, ServerError>;

/// A running private server.
///
/// Every process that uses it holds a shared lock; whoever leaves last stops it.
#[derive(Debug)]
pub struct Server {
    bin: PathBuf,
    data: PathBuf,
    home: PathBuf,
    port: u16,
    password: crate::config::Secret,
    in_use: Mutex<Option<Flock<File>>>,
}

impl Server {
    /// Start the server of a data directory, or take over the one that runs there.
    ///
    /// Blocking: it waits until the server accepts connections.
    ///
    /// # Errors
    /// When there is no installation, the directory cannot be used, or Postgres does not start.
    pub fn start(data_dir: &Path, bin_dir: Option<&Path>) -> Result<Self> {
        let bin = find_installation(bin_dir)?;
        let home = data_dir.join("postgres");
        let data = home.join("data");
        private_dir(&home)?;
        // Held to the end of this function: two processes do not start one server.
        let _starting = lock(&home.join("start.lock"), FlockArg::LockExclusive)?;
        let in_use = lock(&home.join("use.lock"), FlockArg::LockShared)?;
        let password = crate::config::Secret::new(&password(&home)?);
        if data.join("PG_VERSION").exists() {
            check_version(&bin, &data)?;
        } else {
            initialise(&bin, &home, &data)?;
        }
        let port = match running_port(&bin, &data) {
            Some(port) => {
                tracing::info!(port, "using the private Postgres that is running");
                port
            }
            None => launch(&bin, &home, &data, None)?,
        };
        Ok(Self { bin, data, home, port, password, in_use: Mutex::new(Some(in_use)) })
    }

    /// Whether a data directory has a server's data.
    #[must_use]
    pub fn exists(data_dir: &Path) -> bool {
        data_dir.join("postgres/data/PG_VERSION").exists()
    }

    /// Its address, with the password: do not log it.
    #[must_use]
    pub fn url(&self) -> crate::config::Secret {
        let password = self.password.expose();
        crate::config::Secret::new(&format!("postgres://dosimeter:{password}@127.0.0.1:{}/postgres", self.port))
    }

    /// Start it again at its port if it does not run any more.
    ///
    /// # Errors
    /// When it does not start.
    pub fn keep_running(&self) -> Result<()> {
        let _starting = lock(&self.home.join("start.lock"), FlockArg::LockExclusive)?;
        match running_port(&self.bin, &self.data) {
            Some(port) if port == self.port => return Ok(()),
            // A command came first and chose a port of its own: everybody else looks for this one.
            Some(_) => drop(stop(&self.bin, &self.data, "fast")?),
            None => {}
        }
        tracing::error!(port = self.port, "the private Postgres has ended; starting it again");
        launch(&self.bin, &self.home, &self.data, Some(self.port)).map(drop)
    }

    /// Leave it. If no other process uses it, it is stopped; what was committed is safe.
    ///
    /// # Errors
    /// When `pg_ctl` fails.
    pub fn leave(&self) -> Result<()> {
        let _starting = lock(&self.home.join("start.lock"), FlockArg::LockExclusive)?;
        drop(self.in_use.lock().unwrap_or_else(PoisonError::into_inner).take());
        let alone = File::open(self.home.join("use.lock"))
            .is_ok_and(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok());
        if !alone {
            return Ok(());
        }
        match stop(&self.bin, &self.data, "fast") {
            // It died on the way: there is nothing to stop.
            Err(_) if running_port(&self.bin, &self.data).is_none() => Ok(()),
            stopped => stopped.map(drop),
        }
    }
}

/// Remove the private server of a data directory with all its data, unless a process uses it.
///
/// # Errors
/// When a process uses it, or files cannot be removed.
pub fn discard(data_dir: &Path) -> Result<()> {
    let home = data_dir.join("postgres");
    if !home.exists() {
        return Ok(());
    }
    let failed = |source| ServerError::Files { path: home.clone(), source };
    let file = fs::OpenOptions::new().create(true).append(true).open(home.join("use.lock")).map_err(failed)?;
    let _alone = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| failed(errno.into()))?;
    let data = home.join("data");
    if let Ok(bin) = find_installation(None)
        && running_port(&bin, &data).is_some()
    {
        stop(&bin, &data, "immediate")?;
    }
    fs::remove_dir_all(&home).map_err(failed)
}

fn stop(bin: &Path, data: &Path, how: &str) -> Result<String> {
    let arguments: [&OsStr; 6] =
        ["-D".as_ref(), data.as_os_str(), "-m".as_ref(), how.as_ref(), "-w".as_ref(), "stop".as_ref()];
    run(bin, "pg_ctl", &arguments)
}

fn lock(path: &Path, how: FlockArg) -> Result<Flock<File>> {
    let failed = |source| ServerError::Files { path: path.to_owned(), source };
    let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(failed)?;
    Flock::lock(file, how).map_err(|(_, errno)| failed(errno.into()))
}

/// The folder that holds `initdb`, `pg_ctl` and `postgres`, the newest version first.
fn find_installation(configured: Option<&Path>) -> Result<PathBuf> {
    let complete = |dir: &Path| ["initdb", "pg_ctl", "postgres"].iter().all(|program| dir.join(program).is_file());
    if let Some(dir) = configured {
        return if complete(dir) {
            Ok(dir.to_owned())
        } else {
            Err(ServerError::NotInstalled { looked: dir.display().to_string() })
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(dir) = std::env::split_paths(&path).find(|dir| complete(dir)) {
        return Ok(dir);
    }
    const USUAL: [&str; 6] = [
        "/usr/lib/postgresql/*/bin",
        "/usr/pgsql-*/bin",
        "/opt/homebrew/opt/postgresql*/bin",
        "/usr/local/opt/postgresql*/bin",
        "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
        "/Applications/Postgres.app/Contents/Versions/*/bin",
    ];
    let mut found: Vec<PathBuf> = USUAL
        .iter()
        .flat_map(|pattern| glob::glob(pattern).into_iter().flatten().flatten())
        .filter(|dir| complete(dir))
        .collect();
    found.sort_by_key(|dir| major_of(dir));
    found.pop().ok_or_else(|| ServerError::NotInstalled { looked: format!("PATH, {}", USUAL.join(", ")) })
}

/// The largest number in a path: the major version, in every layout that we know.
fn major_of(dir: &Path) -> u32 {
    let text = dir.to_string_lossy();
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).max().unwrap_or(0)
}

fn check_version(bin: &Path, data: &Path) -> Result<()> {
    let found = read(&data.join("PG_VERSION"))?.trim().to_owned();
    let printed = run(bin, "postgres", &["--version".as_ref()])?;
    let installed: String =
        printed.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    if found == installed { Ok(()) } else { Err(ServerError::OtherVersion { dir: data.to_owned(), found, installed }) }
}

fn initialise(bin: &Path, home: &Path, data: &Path) -> Result<()> {
    // Made under another name and renamed when it is whole: a kill leaves nothing that looks finished. Each attempt has a
    // name of its own, for an initdb whose parent was killed may still be at work on the last one.
    let failed = |source| ServerError::Files { path: home.to_owned(), source };
    for entry in fs::read_dir(home).map_err(failed)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("new-") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let part = home.join(format!("new-{}", &random_text()[..8]));
    tracing::info!(dir = %data.display(), "making a private Postgres");
    let password_file = home.join("password");
    let arguments: [&OsStr; 13] = [
        "-D".as_ref(),
        part.as_os_str(),
        "-U".as_ref(),
        "dosimeter".as_ref(),
        "-A".as_ref(),
        "scram-sha-256".as_ref(),
        "--pwfile".as_ref(),
        password_file.as_os_str(),
        "-E".as_ref(),
        "UTF8".as_ref(),
        "--locale".as_ref(),
        "C".as_ref(),
        "--data-checksums".as_ref(),
    ];
    run(bin, "initdb", &arguments)?;
    fs::rename(&part, data).map_err(failed)?;
    sync_dir(home)
}

/// Make a rename outlast a loss of power.
fn sync_dir(dir: &Path) -> Result<()> {
    let failed = |source| ServerError::Files { path: dir.to_owned(), source };
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

/// The port of the server that runs on this data directory, if one does. A stale pid file is not a running server.
fn running_port(bin: &Path, data: &Path) -> Option<u16> {
    run(bin, "pg_ctl", &["-D".as_ref(), data.as_os_str(), "status".as_ref()]).ok()?;
    fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().nth(3)?.trim().parse().ok()
}

fn launch(bin: &Path, home: &Path, data: &Path, wanted: Option<u16>) -> Result<u16> {
    let mut last = None;
    // Between choosing a free port and Postgres binding it another process may come first: choose again.
    for _ in 0..5 {
        let port = match wanted {
            Some(port) => port,
            None => TcpListener::bind(("127.0.0.1", 0))
                .and_then(|listener| listener.local_addr())
                .map_err(|source| ServerError::Files { path: "127.0.0.1".into(), source })?
                .port(),
        };
        let settings = format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='{}' -c synchronous_commit=on",
            socket_dir(data)
        );
        let log = home.join("postgres.log");
        // Recovery after a crash may take long; who gives up on it would start it over.
        let arguments: [&OsStr; 10] = [
            "-D".as_ref(),
            data.as_os_str(),
            "-l".as_ref(),
            log.as_os_str(),
            "-w".as_ref(),
            "-t".as_ref(),
            "3600".as_ref(),
            "-o".as_ref(),
            settings.as_ref(),
            "start".as_ref(),
        ];
        match run(bin, "pg_ctl", &arguments) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some((error, tail(&log))),
        }
    }
    match last {
        Some((ServerError::Program { program, output }, log)) => {
            Err(ServerError::Program { program, output: format!("{output}\n{log}") })
        }
        Some((error, _)) => Err(error),
        None => Err(ServerError::Program { program: "pg_ctl".into(), output: "not tried".into() }),
    }
}

/// The data directory itself, unless its path is too long for a socket address (107 bytes); then there is no socket.
fn socket_dir(data: &Path) -> String {
    let text = data.to_string_lossy();
    if text.len() + "/.s.PGSQL.65535.lock".len() <= 107 && !text.contains(['\'', ',', '"']) {
        text.into_owned()
    } else {
        String::new()
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

fn private_dir(dir: &Path) -> Result<()> {
    let failed = |source| ServerError::Files { path: dir.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(failed)
}

/// The generated password, made once.
fn password(home: &Path) -> Result<String> {
    let path = home.join("password");
    if let Ok(known) = read(&path)
        && !known.trim().is_empty()
    {
        return Ok(known.trim().to_owned());
    }
    write_private(&path, &random_text())?;
    Ok(read(&path)?.trim().to_owned())
}

/// 256 random bits as hexadecimal text.
#[must_use]
pub fn random_text() -> String {
    let bytes: [u8; 32] = rand::random();
    crate::chain::hex(&bytes)
}

/// Write a file that only its owner can read, whole or not at all, unless there is one: of two processes that make it at
/// once the first one's stands.
///
/// # Errors
/// When the file system refuses.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let failed = |source| ServerError::Files { path: path.to_owned(), source };
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut part = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    part.write_all(text.as_bytes()).and_then(|()| part.as_file().sync_all()).map_err(failed)?;
    match part.persist_noclobber(path) {
        Err(error) if error.error.kind() != std::io::ErrorKind::AlreadyExists => Err(failed(error.error)),
        _ => sync_dir(dir),
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| ServerError::Files { path: path.to_owned(), source })
}

/// Run a Postgres program and return what it printed. Its output goes through files: a server that `pg_ctl` starts
/// inherits the descriptors, and a pipe would never end.
fn run(bin: &Path, program: &str, arguments: &[&OsStr]) -> Result<String> {
    let failed = |source| ServerError::Files { path: bin.join(program), source };
    let mut output = tempfile::tempfile().map_err(failed)?;
    let status = Command::new(bin.join(program))
        .args(arguments)
        .current_dir("/")
        .env("LC_ALL", "C")
        .stdin(std::process::Stdio::null())
        .stdout(output.try_clone().map_err(failed)?)
        .stderr(output.try_clone().map_err(failed)?)
        .status()
        .map_err(failed)?;
    let mut printed = String::new();
    std::io::Seek::rewind(&mut output).map_err(failed)?;
    std::io::Read::read_to_string(&mut output, &mut printed).map_err(failed)?;
    if status.success() {
        Ok(printed)
    } else {
        Err(ServerError::Program { program: program.to_owned(), output: printed.trim().to_owned() })
    }
}
