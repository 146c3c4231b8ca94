//! Curves as SVG: axes with round numbers, a legend, light and dark by what the reader prefers.

mod ticks;

use std::fmt::Write as _;

use super::svg::escape;
use ticks::{decades, round};

/// A picture of curves.
#[derive(Clone, Debug, Default)]
pub struct Plot {
    /// Over everything.
    pub title: String,
    /// What runs to the right.
    pub x_label: String,
    /// What runs upwards.
    pub y_label: String,
    /// The curves.
    pub series: Vec<Series>,
    /// Upwards by factors; values of 0 and less are then left out.
    pub log_y: bool,
    /// The first curve is broad and pale, so that it is seen under others that run over it.
    pub overlay: bool,
    /// Upright lines with a word.
    pub marks: Vec<Mark>,
}

/// One curve.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// In their order. What is not finite leaves a gap.
    pub points: Vec<(f64, f64)>,
}

/// An upright line.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Where.
    pub x: f64,
    /// What stands beside it.
    pub label: String,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 28.0;
const BOTTOM: f64 = 62.0;
/// Curves of so few points show each.
const FEW: usize = 60;

/// Colours that differ for every common kind of colour blindness (after Okabe and Ito), for light and for dark paper.
const COLORS: [(&str, &str); 8] = [
    ("#0072b2", "#5ab4ef"),
    ("#d55e00", "#ff9147"),
    ("#00855f", "#2fcf9f"),
    ("#b0478a", "#ea9fca"),
    ("#8a6d00", "#f0c945"),
    ("#4b4ded", "#a3a5ff"),
    ("#a02020", "#ff8080"),
    ("#4d5560", "#c3cad4"),
];

/// From values to places.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    fn new(range: Option<(f64, f64)>, (from, to): (f64, f64), log: bool) -> Self {
        let (mut low, mut high) = range.unwrap_or(if log { (0.1, 1.0) } else { (0.0, 1.0) });
        if log {
            (low, high) = (low.log10(), high.log10());
        }
        if high - low <= f64::EPSILON * high.abs().max(low.abs()) {
            let pad = if low == 0.0 || log {
                0.5
            } else {
                low.abs() * 0.1
            };
            (low, high) = (low - pad, high + pad);
        }
        Self {
            low,
            high,
            from,
            to,
            log,
        }
    }

    /// With some air at both ends.
    fn aired(mut self, share: f64) -> Self {
        let air = (self.high - self.low) * share;
        (self.low, self.high) = (self.low - air, self.high + air);
        self
    }

    /// Where a value is; `None` where it is nowhere.
    fn place(&self, value: f64) -> Option<f64> {
        let value = if self.log {
            (value > 0.0).then(|| value.log10())?
        } else {
            value
        };
        let at = (value - self.low) / (self.high - self.low);
        at.is_finite()
            .then_some(self.from + at * (self.to - self.from))
    }

    fn ticks(&self, about: usize) -> Vec<f64> {
        match self.log {
            true => decades(self.low, self.high),
            false => round(self.low, self.high, about),
        }
    }
}

impl Plot {
    /// The picture, 960 × 540 units, with its own style; well-formed whatever the texts hold.
    pub fn to_svg(&self) -> String {
        let rows = self.legend_rows();
        let top = 56.0 + 24.0 * rows.len() as f64;
        let finite =
            |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite() && (!self.log_y || y > 0.0);
        let points = || {
            self.series
                .iter()
                .flat_map(|s| &s.points)
                .filter(|p| finite(p))
        };
        let x = Scale::new(extent(points().map(|p| p.0)), (LEFT, WIDTH - RIGHT), false);
        let y = Scale::new(
            extent(points().map(|p| p.1)),
            (HEIGHT - BOTTOM, top),
            self.log_y,
        )
        .aired(0.04);

        let mut svg = self.head();
        self.axes(&mut svg, &x, &y, top);
        for mark in &self.marks {
            if let Some(at) = x.place(mark.x) {
                let bottom = HEIGHT - BOTTOM;
                let (anchor, beside) = match at > WIDTH * 0.7 {
                    true => ("end", at - 6.0),
                    false => ("start", at + 6.0),
                };
                let _ = writeln!(
                    svg,
                    "<path class=\"mark\" d=\"M{at:.1} {top:.1}V{bottom:.1}\"/>\
                     <text class=\"ink halo\" x=\"{beside:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                    top + 16.0,
                    escape(&mark.label)
                );
            }
        }
        for (i, series) in self.series.iter().enumerate() {
            self.curve(&mut svg, i, series, &x, &y);
        }
        for (row, entries) in rows.iter().enumerate() {
            let y = 60.0 + 24.0 * row as f64;
            for &(i, at) in entries {
                let _ = writeln!(
                    svg,
                    "<path class=\"line c{}{}\" d=\"M{at:.1} {:.1}h22\"/><text class=\"ink\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
                    i % COLORS.len(),
                    self.breadth(i),
                    y - 4.5,
                    at + 30.0,
                    escape(&self.series[i].name)
                );
            }
        }
        svg += "</svg>\n";
        svg
    }

    fn breadth(&self, i: usize) -> &'static str {
        match self.overlay && i == 0 {
            true => " broad",
            false => "",
        }
    }

    /// Which entry of the legend stands where, in rows.
    fn legend_rows(&self) -> Vec<Vec<(usize, f64)>> {
        let mut rows: Vec<Vec<(usize, f64)>> = vec![Vec::new()];
        let mut at = LEFT;
        for (i, series) in self.series.iter().enumerate() {
            // Letters of a proportional font are about 0.55 of its size wide.
            let wide = 30.0 + 7.8 * series.name.chars().count() as f64 + 26.0;
            if at + wide > WIDTH - RIGHT && at > LEFT {
                rows.push(Vec::new());
                at = LEFT;
            }
            if let Some(row) = rows.last_mut() {
                row.push((i, at));
            }
            at += wide;
        }
        rows
    }

    fn head(&self) -> String {
        let mut style = String::from(
            "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\
             .title{font-size:18px;font-weight:600}.paper{fill:#fff}.ink{fill:#1b1e23}.faint{fill:#596069}\
             .grid{stroke:#e2e5ea;fill:none}.axis{stroke:#8b929c;fill:none}\
             .mark{stroke:#596069;stroke-dasharray:5 4;fill:none}\
             .halo{paint-order:stroke;stroke:#fff;stroke-width:4px}\
             .line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}\
             .broad{stroke-width:6;stroke-opacity:.4}.dot{stroke:none}",
        );
        let mut dark = String::from(
            ".paper{fill:#17191d}.ink{fill:#eceef1}.faint{fill:#a9b0ba}.grid{stroke:#2c3037}\
             .axis{stroke:#6d747e}.mark{stroke:#a9b0ba}.halo{stroke:#17191d}",
        );
        for (i, (light, night)) in COLORS.iter().enumerate() {
            let _ = write!(
                style,
                ".line.c{i}{{stroke:{light}}}.dot.c{i}{{fill:{light}}}"
            );
            let _ = write!(
                dark,
                ".line.c{i}{{stroke:{night}}}.dot.c{i}{{fill:{night}}}"
            );
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"title desc\">\n\
             <title id=\"title\">{}</title>\n<desc id=\"desc\">{}</desc>\n\
             <style>{style}@media (prefers-color-scheme:dark){{{dark}}}</style>\n\
             <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
             <text class=\"ink title\" x=\"{LEFT}\" y=\"32\">{}</text>\n",
            escape(&self.title),
            escape(&self.describe()),
            escape(&self.title)
        )
    }

    /// The curves in words, for who cannot see them.
    fn describe(&self) -> String {
        let mut text = format!("{} against {}.", self.y_label, self.x_label);
        for series in &self.series {
            let _ = write!(text, " {}: ", series.name);
            let first = series.points.iter().find(|p| p.1.is_finite());
            let last = series.points.iter().rfind(|p| p.1.is_finite());
            match (first, last) {
                (Some(first), Some(last)) => {
                    let _ = write!(
                        text,
                        "{} points, from {} at {} to {} at {}.",
                        series.points.len(),
                        number(first.1),
                        number(first.0),
                        number(last.1),
                        number(last.0)
                    );
                }
                _ => text += "no points.",
            }
        }
        for mark in &self.marks {
            let _ = write!(text, " At {}: {}.", number(mark.x), mark.label);
        }
        text
    }

    fn axes(&self, svg: &mut String, x: &Scale, y: &Scale, top: f64) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in y.ticks(6) {
            if let Some(at) = y
                .place(tick)
                .filter(|at| (top - 1.0..=bottom + 1.0).contains(at))
            {
                let _ = writeln!(
                    svg,
                    "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/><text class=\"faint\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    LEFT - 10.0,
                    at + 4.5,
                    number(tick)
                );
            }
        }
        for tick in x.ticks(8) {
            if let Some(at) = x
                .place(tick)
                .filter(|at| (LEFT - 1.0..=right + 1.0).contains(at))
            {
                let _ = writeln!(
                    svg,
                    "<path class=\"axis\" d=\"M{at:.1} {bottom}v5\"/><text class=\"faint\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                    bottom + 21.0,
                    number(tick)
                );
            }
        }
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {top}V{bottom}H{right}\"/>\n\
             <text class=\"ink\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text class=\"ink\" transform=\"translate(20 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 16.0,
            escape(&self.x_label),
            (top + bottom) / 2.0,
            escape(&self.y_label)
        );
    }

    fn curve(&self, svg: &mut String, i: usize, series: &Series, x: &Scale, y: &Scale) {
        let placed = series
            .points
            .iter()
            .map(|&(a, b)| Some((x.place(a)?, y.place(b)?)));
        let runs = runs(placed);
        let dots = series.points.len() <= FEW;
        let color = i % COLORS.len();
        let broad = self.breadth(i);
        let _ = writeln!(svg, "<g><title>{}</title>", escape(&series.name));
        for run in runs {
            if let [(x, y)] = run[..] {
                let _ = writeln!(
                    svg,
                    "<circle class=\"dot c{color}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
                );
                continue;
            }
            let mut path = String::new();
            for (n, (x, y)) in thinned(&run).into_iter().enumerate() {
                let step = if n == 0 { 'M' } else { 'L' };
                let _ = write!(path, "{step}{x:.1} {y:.1}");
            }
            let _ = writeln!(svg, "<path class=\"line c{color}{broad}\" d=\"{path}\"/>");
            for (x, y) in run.iter().filter(|_| dots && broad.is_empty()) {
                let _ = writeln!(
                    svg,
                    "<circle class=\"dot c{color}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.4\"/>"
                );
            }
        }
        svg.push_str("</g>\n");
    }
}

fn number(value: f64) -> String {
    crate::number::general(value + 0.0, 6)
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((low, high)) => Some((low.min(v), high.max(v))),
    })
}

/// Points without a gap between them.
fn runs(points: impl Iterator<Item = Option<(f64, f64)>>) -> Vec<Vec<(f64, f64)>> {
    let mut runs = vec![Vec::new()];
    for point in points {
        match (point, runs.last_mut()) {
            (Some(point), Some(run)) => run.push(point),
            (None, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            _ => {}
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// The same line with at most the first, lowest, highest and last point for each half unit of width.
fn thinned(run: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let column = |x: f64| (x * 2.0).floor();
    let mut kept = Vec::new();
    for group in run.chunk_by(|a, b| column(a.0) == column(b.0)) {
        if group.len() <= 4 {
            kept.extend_from_slice(group);
            continue;
        }
        let mut indices = [0; 4];
        for (i, point) in group.iter().enumerate() {
            if point.1 < group[indices[1]].1 {
                indices[1] = i;
            }
            if point.1 > group[indices[2]].1 {
                indices[2] = i;
            }
        }
        indices[3] = group.len() - 1;
        indices.sort_unstable();
        kept.extend(indices.iter().map(|&i| group[i]));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> Plot {
        Plot {
            title: "loss <of> a & b".into(),
            x_label: "iteration".into(),
            y_label: "loss".into(),
            series: vec![Series {
                name: "a \"quoted\"".into(),
                points,
            }],
            ..Plot::default()
        }
    }

    #[test]
    fn curves_run_from_corner_to_corner() {
        let svg = plot(vec![(0.0, 0.0), (100.0, 1.0)]).to_svg();
        assert!(svg.contains("loss &lt;of&gt; a &amp; b"), "{svg}");
        assert!(svg.contains("d=\"M84.0 463.3L932.0 94.7\""), "{svg}");
        assert!(svg.contains("2 points, from 0 at 0 to 1 at 100."));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(svg.contains(">20</text>") && svg.contains(">0.4</text>"));
    }

    #[test]
    fn gaps_dots_and_nothing_at_all() {
        let nan = f64::NAN;
        let svg = plot(vec![(0.0, 1.0), (1.0, nan), (2.0, 1.0), (3.0, 2.0)]).to_svg();
        assert_eq!(svg.matches("<path class=\"line c0\" d=\"M").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 3);
        for points in [
            Vec::new(),
            vec![(0.0, nan)],
            vec![(1.0, 5.0)],
            vec![(f64::INFINITY, f64::NEG_INFINITY)],
            vec![(0.0, f64::MAX), (1.0, f64::MIN)],
        ] {
            let svg = plot(points).to_svg();
            assert!(!svg.contains("NaN") && svg.ends_with("</svg>\n"));
        }
    }

    #[test]
    fn by_factors() {
        let mut plot = plot(vec![(0.0, 1e-3), (1.0, 0.0), (2.0, 1.0)]);
        plot.log_y = true;
        let svg = plot.to_svg();
        for tick in [">0.001<", ">0.01<", ">0.1<", ">1<"] {
            assert!(svg.contains(tick), "{tick} {svg}");
        }
    }

    #[test]
    fn long_curves_keep_their_extremes() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), 0.0)).collect();
        points[54_321].1 = 7.0;
        let thin = thinned(
            &points
                .iter()
                .map(|&(x, y)| (x / 200.0, y))
                .collect::<Vec<_>>(),
        );
        assert!(thin.len() < 4100, "{}", thin.len());
        assert!(thin.iter().any(|p| p.1 == 7.0));
    }
}
