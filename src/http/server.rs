//! The server: connections, encrypted or not, their number, their patience, and their end.
//!
//! Plain and encrypted connections take one way. Every connection is a tracked task; none outlives the daemon.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tls::{self, Tls};
use crate::config::Http;
use crate::desk::Desk;
use crate::export::traffic::Traffic;
use crate::job::Context;

/// How long requests may take to end after the daemon was asked to.
const GRACE: Duration = Duration::from_secs(10);
/// After the system has refused a connection, for want of files for instance, the next is tried after this.
const REFUSED: Duration = Duration::from_millis(200);

/// Answer requests until asked to stop.
///
/// # Errors
/// When the certificate cannot be used.
pub async fn serve(
    listener: TcpListener,
    context: watch::Receiver<Context>,
    desk: Desk,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (http, traffic) = {
        let present = context.borrow();
        (present.plan.http.clone(), present.exporter.traffic().clone())
    };
    let app = super::router(context.clone(), desk);
    let tasks = TaskTracker::new();
    let tls = http.tls.as_ref().map(Tls::load).transpose()?;
    if let Some(tls) = &tls {
        tasks.spawn(tls::keep_fresh(tls.clone(), context, stop.clone()));
    }
    let slots = Arc::new(Semaphore::new(http.max_connections.min(Semaphore::MAX_PERMITS)));
    loop {
        // Whoever comes when all are taken waits in the system's queue.
        let (slot, stream) = tokio::select! {
            () = stop.cancelled() => break,
            next = next(&slots, &listener) => next?,
        };
        let connection = Connection { app: app.clone(), stop: stop.clone(), patience: http.header_timeout };
        let (tls, open) = (tls.clone(), Open::new(&traffic));
        tasks.spawn(async move {
            connection.run(stream, tls.as_ref()).await;
            drop((slot, open));
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::warn!("requests were still under way after {} s, and are broken off", GRACE.as_secs());
    }
    Ok(())
}

/// The next connection, once there is room for it.
async fn next(
    slots: &Arc<Semaphore>,
    listener: &TcpListener,
) -> anyhow::Result<(tokio::sync::OwnedSemaphorePermit, TcpStream)> {
    let slot = slots.clone().acquire_owned().await.context("the connections are counted no more")?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok((slot, stream)),
            Err(error) => {
                tracing::warn!(%error, "the system refused a connection");
                tokio::time::sleep(REFUSED).await;
            }
        }
    }
}

/// Counts a connection for as long as it is held.
struct Open(Traffic);

impl Open {
    fn new(traffic: &Traffic) -> Self {
        traffic.connections.inc();
        Self(traffic.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

struct Connection {
    app: Router,
    stop: CancellationToken,
    patience: Duration,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<&Tls>) {
        // Answers are small and whole: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.answer(stream).await };
        let greeted = tokio::select! {
            () = self.stop.cancelled() => return,
            greeted = tokio::time::timeout(self.patience, tls.acceptor().accept(stream)) => greeted,
        };
        match greeted {
            Ok(Ok(stream)) => self.answer(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a connection was not encrypted"),
            Err(_) => tracing::debug!("a connection was never encrypted"),
        }
    }

    async fn answer(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = TowerToHyperService::new(self.app);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.patience)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke off");
        }
    }
}

/// What is wrong with the files that the server needs, before it is started.
///
/// # Errors
/// When the certificate cannot be used.
pub fn check(http: &Http) -> anyhow::Result<()> {
    http.tls.as_ref().map(Tls::load).transpose().map(drop)
}
