//! Prometheus' text format 0.0.4, which the reference serves and every scraper reads.
//!
//! The library writes `OpenMetrics`, where counters are described without the `_total` of their samples, help ends with a
//! full stop that it adds, bounds are `1.0` where Go writes `1`, and the end is marked. Rules and dashboards that were
//! written for the reference match names, types and bounds as text.

use std::fmt::Write as _;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// The content type of what [`super::Metrics::render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn render(registry: &Registry) -> String {
    let mut written = String::new();
    // A `String` takes all, and no collector of ours fails.
    let _infallible = encode(&mut written, registry);
    translate(&written)
}

/// `OpenMetrics` as the library writes it, in the older format.
fn translate(written: &str) -> String {
    let mut out = String::with_capacity(written.len());
    let mut help = None;
    for line in written.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap_or((described, "untyped"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, text)) = help.take() {
                let text = text.strip_suffix('.').unwrap_or(text);
                let _infallible = writeln!(out, "# HELP {name}{suffix} {text}");
            }
            let _infallible = writeln!(out, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            write_sample(&mut out, line);
        }
    }
    out
}

/// A sample, its bound written as Go does.
fn write_sample(out: &mut String, line: &str) {
    // Only bounds are called `le`, and only numbers follow it.
    let bound = ["{le=\"", ",le=\""]
        .iter()
        .find_map(|mark| line.find(mark).map(|at| at + mark.len()))
        .and_then(|at| line.split_at_checked(at))
        .and_then(|(before, rest)| Some((before, rest.split_once('"')?)));
    match bound {
        Some((before, (bound, after))) => {
            out.push_str(before);
            write_bound(out, bound);
            out.push('"');
            out.push_str(after);
        }
        None => out.push_str(line),
    }
    out.push('\n');
}

/// A bound as the reference writes it: the shortest digits, with an exponent of two digits from a million on.
fn write_bound(out: &mut String, bound: &str) {
    match bound.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 1e6 => {
            let scientific = format!("{value:e}");
            let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
            let _infallible = write!(out, "{digits}e+{exponent:0>2}");
        }
        Ok(value) if value.is_finite() => {
            let _infallible = write!(out, "{value}");
        }
        _ => out.push_str(bound),
    }
}
