//! The picture: for each row, how we stand to each peer, on a scale on which twice as fast is as far as half as slow.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::figures::real_of;
use crate::report::{Line, Report};

const WIDTH: u32 = 1000;
const BAR: u32 = 26;
const TEXT: (&str, u32) = ("sans-serif", 14);

const RATE: RGBColor = RGBColor(38, 100, 160);
const COST: RGBColor = RGBColor(214, 126, 44);

/// Writes it as SVG.
pub(crate) fn draw(report: &Report, file: &Path) -> Result<()> {
    let lines: Vec<&Line> = report
        .lines
        .iter()
        .filter(|line| line.rate_ratio.is_some())
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    let height = 110 + BAR * u32::try_from(lines.len())?;
    draw_lines(&lines, file, height).map_err(|error| anyhow!("the picture: {error}"))
}

fn draw_lines(lines: &[&Line], file: &Path, height: u32) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let furthest = lines
        .iter()
        .flat_map(|line| values(line))
        .map(|(value, _)| value.log2().abs());
    let furthest = furthest
        .filter(|value| value.is_finite())
        .fold(1.0, f64::max)
        .ceil();
    let rows = real_of(lines.len());
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "Roadstead to each peer: to the right is better",
            ("sans-serif", 18),
        )
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(310)
        .build_cartesian_2d(-furthest..furthest, rows..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(9)
        .x_label_formatter(&|power| times(*power))
        .x_desc("times as fast (blue), times less processor time (orange)")
        .label_style(TEXT)
        .draw()?;
    for (row, line) in lines.iter().enumerate() {
        let top = real_of(row);
        for ((value, color), offset) in values(line).into_iter().zip([0.15, 0.5]) {
            let bar = [(0.0, top + offset), (value.log2(), top + offset + 0.32)];
            chart.draw_series([Rectangle::new(bar, color.filled())])?;
        }
        let (_, y) = chart.backend_coord(&(0.0, top + 0.3));
        let label = format!("{}: {}", line.row, line.server);
        area.draw(&Text::new(label, (14, y), TEXT))?;
    }
    area.present()?;
    Ok(())
}

/// How many times as fast, and how many times cheaper.
fn values(line: &Line) -> Vec<(f64, RGBColor)> {
    let rate = line.rate_ratio.map(|ratio| (ratio.median, RATE));
    let cost = line.cost_ratio.map(|ratio| (1.0 / ratio.median, COST));
    rate.into_iter()
        .chain(cost)
        .filter(|(value, _)| value.is_finite() && *value > 0.0)
        .collect()
}

fn times(power: f64) -> String {
    if power < 0.0 {
        format!("1/{:.0}", 2_f64.powf(-power))
    } else {
        format!("{:.0}", 2_f64.powf(power))
    }
}
