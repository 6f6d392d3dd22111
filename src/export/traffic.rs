//! What goes over HTTP: counted as it goes, and not put together by `job::publish`.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

use super::help_of;

/// Upper ends of the classes of the time that requests take, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Counters of HTTP. Shared; cheap to clone.
#[derive(Clone)]
pub struct Traffic {
    requests: IntCounterVec,
    seconds: HistogramVec,
    refused: IntCounterVec,
    /// Connections that are open.
    pub connections: IntGauge,
}

impl Traffic {
    /// Counters in a registry.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let full = |family: &str| format!("dosimeter_{family}");
        let options = |family: &str| Opts::new(full(family), help_of(family).unwrap_or_default());
        let seconds = "http_request_seconds";
        let histogram = HistogramOpts::new(full(seconds), help_of(seconds).unwrap_or_default()).buckets(SECONDS.into());
        let traffic = Self {
            requests: IntCounterVec::new(options("http_requests_total"), &["route", "method", "status"])?,
            seconds: HistogramVec::new(histogram, &["route", "method"])?,
            refused: IntCounterVec::new(options("http_refused_total"), &["reason"])?,
            connections: IntGauge::with_opts(options("http_connections"))?,
        };
        registry.register(Box::new(traffic.requests.clone()))?;
        registry.register(Box::new(traffic.seconds.clone()))?;
        registry.register(Box::new(traffic.refused.clone()))?;
        registry.register(Box::new(traffic.connections.clone()))?;
        Ok(traffic)
    }

    /// Count a request that was answered.
    pub fn note(&self, route: &str, method: &str, status: &str, refusal: Option<&str>, spent: Duration) {
        self.requests.with_label_values(&[route, method, status]).inc();
        self.seconds.with_label_values(&[route, method]).observe(spent.as_secs_f64());
        if let Some(reason) = refusal {
            self.refused.with_label_values(&[reason]).inc();
        }
    }
}
