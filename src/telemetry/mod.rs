//! Figures for those who run the hub.
//!
//! What happens is counted where it happens, by the `metrics` crate and under a name of the [`table`](METRICS); a hot path
//! keeps its handle ([`count!`](crate::count)) and counts a batch at once. What merely *is* (connections, rooms, memory) is
//! looked up when somebody asks, by `http::metrics`. Nothing here knows the rest of the hub.

mod process;
mod recorder;
mod table;
#[cfg(test)]
mod tests;

pub use process::ProcessFigures;
pub use recorder::Recorder;
pub use table::{Kind, METRICS, Metric, metric};

/// Adds to a counter: `count!("name")`, `count!("name", "label" => "value")`, and with `; number` for more than one. The
/// handle is made once, so this costs an addition; labels are literals. In a process without a [`Recorder`] it does
/// nothing.
#[macro_export]
macro_rules! count {
    ($name:literal $(, $label:literal => $value:literal)* $(,)?) => {
        $crate::count!($name $(, $label => $value)*; 1)
    };
    ($name:literal $(, $label:literal => $value:literal)*; $number:expr) => {{
        static HANDLE: std::sync::LazyLock<metrics::Counter> =
            std::sync::LazyLock::new(|| metrics::counter!($name $(, $label => $value)*));
        HANDLE.increment($number);
    }};
}

/// Adds an observation to a histogram without labels, whose handle is made once: `observe!("name", seconds)`.
#[macro_export]
macro_rules! observe {
    ($name:literal, $value:expr) => {{
        static HANDLE: std::sync::LazyLock<metrics::Histogram> =
            std::sync::LazyLock::new(|| metrics::histogram!($name));
        HANDLE.record($value);
    }};
}
