//! Where figures are counted, and how they are told: the text format of Prometheus.

use std::{sync::OnceLock, time::Duration};

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::table::{Kind, METRICS};

/// Observations are gathered as they come and sorted into their buckets so often, whether or not anybody asks.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Tells what was counted. The process has one; clones are the same.
#[derive(Clone)]
pub struct Recorder(PrometheusHandle);

impl Recorder {
    /// The recorder of this process. Everything counted before the first call is lost, so it comes first at the start.
    pub fn install() -> Self {
        static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();
        let handle = INSTALLED.get_or_init(|| {
            let recorder = builder().build_recorder();
            let handle = recorder.handle();
            // Fails only if somebody else's is there: then this one stays empty, and the hub runs.
            if metrics::set_global_recorder(recorder).is_ok() {
                describe();
            }
            handle
        });
        Self(handle.clone())
    }

    /// Sorts observations into their buckets from time to time, for as long as the runtime lives.
    pub fn keep_up(&self) {
        let handle = self.0.clone();
        actix::spawn(async move {
            let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
            loop {
                tick.tick().await;
                handle.run_upkeep();
            }
        });
    }

    /// All figures as text.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

fn builder() -> PrometheusBuilder {
    METRICS.iter().fold(PrometheusBuilder::new(), |builder, metric| match metric.kind {
        Kind::Histogram(bounds) => {
            let named = Matcher::Full(metric.name.to_owned());
            builder.set_buckets_for_metric(named, bounds).expect("a histogram of the table has bounds")
        }
        Kind::Counter | Kind::Gauge => builder,
    })
}

/// Describes every figure, and shows those without labels from the start: what is absent cannot be told from what is 0.
fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram(_) => describe_histogram!(metric.name, metric.unit, metric.help),
        }
        if metric.labels.is_empty() {
            match metric.kind {
                Kind::Counter => counter!(metric.name).increment(0),
                Kind::Gauge => gauge!(metric.name).increment(0.0),
                Kind::Histogram(_) => drop(histogram!(metric.name)),
            }
        }
    }
    gauge!("hubbub_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}
