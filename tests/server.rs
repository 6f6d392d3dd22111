//! The private Postgres: started, taken over after a kill, stopped, refused.

use std::path::Path;
use std::process::Stdio;

use sqlx::Connection as _;

use crate::support::{Child, SMALL, binary, eventually, free_port, give_away};

/// A folder that whoever the program becomes may use, with a configuration in it.
pub fn folder(port: u16) -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("dosimeter-server").tempdir().expect("a folder");
    let service = format!("[service]\nlisten = \"127.0.0.1:{port}\"\ndata_dir = \"data\"\ntick = \"1s\"\n{SMALL}");
    std::fs::write(folder.path().join("config.toml"), service).expect("a file");
    std::fs::create_dir(folder.path().join("data")).expect("a folder");
    give_away(&[folder.path(), &folder.path().join("data")]);
    folder
}

pub fn serve(folder: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("a file");
    let mut command = binary();
    command.args(["serve", "--config"]).arg(folder.join("config.toml"));
    Child(command.stdout(Stdio::null()).stderr(log).spawn().expect("the program starts"))
}

pub fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

fn get(port: u16, path: &str) -> Option<(u16, String)> {
    crate::daemon::get(port, path)
}

pub fn ready(folder: &Path, port: u16) {
    eventually(&format!("the daemon to be ready; {}", log(folder)), || {
        get(port, "/readyz").filter(|(status, _)| *status == 200)
    });
}

pub fn postmaster(folder: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(folder.join("data/postgres/data/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Let a server that only replays take over.
fn promote(home: &Path) {
    let read = |name: &str| std::fs::read_to_string(home.join(name)).expect("a file");
    let (password, pid_file) = (read("password"), read("data/postmaster.pid"));
    let port = pid_file.lines().nth(3).expect("a port").to_owned();
    let url = format!("postgres://dosimeter:{}@127.0.0.1:{port}/postgres", password.trim());
    let step = async {
        let mut connection = sqlx::PgConnection::connect(&url).await.expect("a connection");
        sqlx::query("select pg_promote()").execute(&mut connection).await.expect("it takes over");
    };
    tokio::runtime::Runtime::new().expect("a runtime").block_on(step);
}

fn is_alive(pid: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH)
}

pub fn terminate(child: &mut Child) {
    let pid = nix::unistd::Pid::from_raw(child.0.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    assert!(child.0.wait().expect("it ends").success());
}

#[test]
fn it_is_started_taken_over_after_a_kill_and_stopped() {
    let port = free_port();
    let folder = folder(port);
    let mut first = serve(folder.path());
    ready(folder.path(), port);
    let server = postmaster(folder.path()).expect("a server runs");
    first.0.kill().expect("it runs");
    first.0.wait().expect("it ends");
    assert!(is_alive(server), "the server outlives a daemon that was killed");

    let mut second = serve(folder.path());
    ready(folder.path(), port);
    assert_eq!(postmaster(folder.path()), Some(server), "the same server");
    assert!(log(folder.path()).contains("using the private Postgres"));
    // Not only loopback's port: a socket in the data directory too, and both ask for the password.
    let options = std::fs::read_to_string(folder.path().join("data/postgres/data/postmaster.pid")).expect("a file");
    assert!(
        options.contains("127.0.0.1") && options.contains(&*folder.path().join("data").to_string_lossy()),
        "{options}"
    );
    let rules = std::fs::read_to_string(folder.path().join("data/postgres/data/pg_hba.conf")).expect("a file");
    assert!(!rules.lines().any(|line| !line.trim_start().starts_with('#') && line.contains("trust")), "{rules}");

    // A question beside the running daemon uses the same server and leaves it running.
    let status =
        binary().args(["alert", "list", "--config"]).arg(folder.path().join("config.toml")).output().expect("it runs");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    assert!(is_alive(server));

    // Postgres dies under the daemon: it is started again at its port, and the daemon goes on.
    let pid = nix::unistd::Pid::from_raw(server);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it runs");
    eventually("another Postgres", || postmaster(folder.path()).filter(|pid| *pid != server && is_alive(*pid)));
    ready(folder.path(), port);
    assert!(second.0.try_wait().expect("a child").is_none(), "the daemon lives: {}", log(folder.path()));

    terminate(&mut second);
    assert_eq!(postmaster(folder.path()), None, "whoever leaves last stops the server");

    // A server that replays its log can only be read for a while: it is waited for, and not stopped.
    let home = folder.path().join("data/postgres");
    std::fs::write(home.join("data/standby.signal"), "").expect("a file");
    let mut third = serve(folder.path());
    eventually("the daemon to wait", || log(folder.path()).contains("the server can only be read").then_some(()));
    let replaying = postmaster(folder.path()).expect("a server runs");
    promote(&home);
    ready(folder.path(), port);
    assert_eq!(postmaster(folder.path()), Some(replaying), "the same server");
    terminate(&mut third);

    // A data directory of another major version is refused, and says so.
    let version = folder.path().join("data/postgres/data/PG_VERSION");
    std::fs::write(&version, "9\n").expect("a file");
    let refused =
        binary().args(["serve", "--config"]).arg(folder.path().join("config.toml")).output().expect("it runs");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(told.contains("Postgres 9") && told.contains("pg_upgrade"), "{told}");
}

#[test]
fn without_an_installation_one_line_says_what_to_do() {
    let folder = folder(free_port());
    let path = folder.path().join("config.toml");
    let text = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(&path, format!("[database]\nbin_dir = \"/nowhere\"\n{text}")).expect("a file");
    let refused = binary().args(["serve", "--config"]).arg(&path).output().expect("it runs");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    for remedy in ["apt-get install postgresql", "dnf install", "brew install", "DATABASE_URL"] {
        assert!(told.contains(remedy), "{told}");
    }
    assert_eq!(told.trim().lines().filter(|line| line.starts_with("dosimeter:")).count(), 1, "{told}");
}

#[test]
fn root_takes_over_no_directory_that_is_in_use() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("skipped: only root could take something over");
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("precious");
    std::fs::write(&file, "x").expect("a file");
    let refused = binary().args(["demo", "--once", "--dir"]).arg(folder.path()).output().expect("it runs");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("chown"), "{told}");
    for path in [folder.path(), &file] {
        assert_eq!(std::fs::metadata(path).expect("there").uid(), 0, "{}", path.display());
    }
}
