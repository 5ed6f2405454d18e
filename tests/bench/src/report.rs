//! The table: medians, and how we stand to each peer, round by round.

use std::fmt::Write as _;

use serde::Serialize;

use crate::figures::{Spread, short};
use crate::measure::Sample;
use crate::rows::{ROWS, Row};

/// Above this part of the machine, others disturb.
const OTHERS_DISTURB: f64 = 0.1;
/// Quartiles further apart than this part of the median tell little.
const WIDE: f64 = 0.25;

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) version: String,
    pub(crate) notes: Vec<String>,
    pub(crate) lines: Vec<Line>,
    pub(crate) samples: Vec<Sample>,
}

/// One server in one row.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) row: &'static str,
    pub(crate) server: String,
    pub(crate) ours: bool,
    pub(crate) rate: Spread,
    pub(crate) rate_unit: &'static str,
    pub(crate) cost: Spread,
    pub(crate) cost_unit: &'static str,
    pub(crate) p99: Option<f64>,
    pub(crate) peak: f64,
    /// Ours to this one, of the same round: above one is better for us.
    pub(crate) rate_ratio: Option<Spread>,
    /// Ours to this one: below one is better for us.
    pub(crate) cost_ratio: Option<Spread>,
    /// Requests to the store, for each unit.
    pub(crate) asked_store: Option<f64>,
    pub(crate) noisy: bool,
}

impl Report {
    pub(crate) fn of(samples: Vec<Sample>, ours: &[&str], notes: Vec<String>) -> Self {
        let mut lines = Vec::new();
        for row in ROWS {
            let of_row: Vec<&Sample> = samples
                .iter()
                .filter(|sample| sample.row == row.name)
                .collect();
            let mut servers: Vec<&str> = Vec::new();
            for sample in &of_row {
                if !servers.contains(&sample.server.as_str()) {
                    servers.push(&sample.server);
                }
            }
            lines.extend(
                servers
                    .iter()
                    .filter_map(|server| line(row, server, &of_row, ours)),
            );
        }
        Self {
            machine: crate::machine::description(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            notes,
            lines,
            samples,
        }
    }

    /// As text, in Markdown's form of a table.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n\n", self.machine);
        for note in &self.notes {
            let _infallible = writeln!(text, "{note}.");
        }
        text.push_str(
            "\n| work | server | rate | CPU each | p99, ms | peak RSS, MiB | our rate to its | our CPU to its |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for line in &self.lines {
            let what = line.of().map_or("", |row| row.what);
            let noisy = if line.noisy { " (noisy)" } else { "" };
            let _infallible = writeln!(
                text,
                "| {what} | {}{noisy} | {} {} | {} {} | {} | {:.0} | {} | {} |",
                line.server,
                short(line.rate.median),
                line.rate_unit,
                short(line.cost.median),
                line.cost_unit,
                line.p99.map_or_else(String::new, short),
                line.peak,
                ratio(line.rate_ratio),
                ratio(line.cost_ratio),
            );
        }
        for line in &self.lines {
            if let (Some(asked), Some(row)) = (line.asked_store, line.of()) {
                let (server, what, unit) = (&line.server, row.what, row.unit.name());
                let asked = short(asked);
                let _infallible = writeln!(
                    text,
                    "\n{server}, {what}: {asked} requests to the store for each {unit}."
                );
            }
        }
        if self.lines.iter().any(|line| line.noisy) {
            text.push_str(
                "\nnoisy: others took more than a tenth of the machine, or the rounds disagree by more than a quarter. \
                 Such a line tells little.\n",
            );
        }
        text
    }
}

impl Line {
    fn of(&self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.name == self.row)
    }
}

fn ratio(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |spread| {
        format!(
            "**{}** ({} to {})",
            short(spread.median),
            short(spread.low),
            short(spread.high)
        )
    })
}

fn line(row: &Row, server: &str, of_row: &[&Sample], ours: &[&str]) -> Option<Line> {
    let of = |name: &str| -> Vec<&Sample> {
        of_row
            .iter()
            .copied()
            .filter(|sample| sample.server == name)
            .collect()
    };
    let theirs = of(server);
    // A cluster of ours is held against one registry of ours as well.
    let reference = ours
        .iter()
        .map(|name| (*name, of(name)))
        .find(|(_, samples)| !samples.is_empty());
    let own = reference.as_ref().is_some_and(|(name, _)| *name == server);
    let pairs = |value: fn(&Sample) -> f64| -> Option<Spread> {
        let (_, reference) = reference.as_ref().filter(|_| !own)?;
        let ratios = theirs.iter().filter_map(|theirs| {
            let ours = reference.iter().find(|ours| ours.round == theirs.round)?;
            Some(value(ours) / value(theirs))
        });
        Spread::of(ratios)
    };
    let rate = Spread::of(theirs.iter().map(|sample| sample.rate))?;
    let others = Spread::of(theirs.iter().map(|sample| sample.others))?;
    let rate_ratio = if row.unit.more_is_better() {
        pairs(|sample| sample.rate)
    } else {
        pairs(|sample| 1.0 / sample.rate)
    };
    Some(Line {
        row: row.name,
        server: server.to_owned(),
        ours: own,
        rate,
        rate_unit: row.unit.rate_name(),
        cost: Spread::of(theirs.iter().map(|sample| sample.cost))?,
        cost_unit: row.unit.cost_name(),
        p99: Spread::of(theirs.iter().filter_map(|sample| sample.p99)).map(|spread| spread.median),
        peak: theirs.iter().map(|sample| sample.peak).fold(0.0, f64::max),
        rate_ratio,
        cost_ratio: pairs(|sample| sample.cost),
        asked_store: Spread::of(theirs.iter().filter_map(|sample| sample.asked_store))
            .map(|spread| spread.median),
        noisy: others.median > OTHERS_DISTURB || rate.width() > WIDE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(server: &str, round: usize, rate: f64, cost: f64) -> Sample {
        Sample {
            row: "pull-1",
            server: server.to_owned(),
            round,
            units: 1.0,
            seconds: 1.0,
            cpu_seconds: 1.0,
            rate,
            cost,
            p99: None,
            peak: 10.0,
            resident: 5.0,
            others: 0.0,
            asked_store: None,
        }
    }

    #[test]
    fn a_round_is_held_against_the_same_round() {
        let samples = vec![
            sample("a", 0, 10.0, 1.0),
            sample("b", 0, 5.0, 2.0),
            // Both are slower in this one.
            sample("a", 1, 2.0, 5.0),
            sample("b", 1, 1.0, 10.0),
        ];
        let report = Report::of(samples, &["a"], Vec::new());
        let [ours, theirs] = report.lines.as_slice() else {
            panic!("{:?}", report.lines);
        };
        assert!(ours.ours && ours.rate_ratio.is_none());
        let (rate, cost) = (theirs.rate_ratio.unwrap(), theirs.cost_ratio.unwrap());
        assert_eq!((rate.low, rate.high), (2.0, 2.0));
        assert_eq!((cost.low, cost.high), (0.5, 0.5));
        assert!(ours.noisy, "the rounds disagree");
        assert!(
            report.table().contains("**2.00** (2.00 to 2.00)"),
            "{}",
            report.table()
        );
    }
}
