//! Plots as SVG, which pages hold as they are. Sizes are in the plot's own units; the page scales it to its width.

use super::words::count;
use askama::filters::HtmlSafe;
use std::fmt::{self, Write};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 190.0;
/// Room for the numbers at the left, and for the times at the bottom.
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 30.0;
const TOP: f64 = 16.0;

/// How values are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Amounts in spans of time.
    Bars,
    /// A level at points of time.
    Line,
}

/// Values over time, the oldest first, none where nothing is known.
pub(super) struct Plot {
    /// A word that no other plot on the page has: letters only.
    pub name: &'static str,
    /// What is drawn.
    pub title: &'static str,
    /// Of what: `lines`.
    pub unit: &'static str,
    pub kind: Kind,
    pub points: Vec<(String, Option<u64>)>,
}

/// A row of the table that says the same as a plot.
pub(super) struct Row<'a> {
    pub label: &'a str,
    pub value: String,
}

impl Plot {
    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        self.points.iter().all(|(_, value)| value.is_none())
    }

    /// Whether there are amounts, and all of them are 0.
    pub fn is_nothing(&self) -> bool {
        self.kind == Kind::Bars && self.points.iter().all(|(_, value)| value.is_none_or(|value| value == 0))
    }

    /// In a sentence, for those who cannot see it.
    pub fn description(&self) -> String {
        let values = || self.points.iter().filter_map(|(_, value)| *value);
        let (Some(most), Some(last)) = (values().max(), values().next_back()) else {
            return "Nothing is known yet.".to_owned();
        };
        let span = match (self.points.first(), self.points.last()) {
            (Some((first, _)), Some((last, _))) => format!("From {first} to {last}: "),
            _ => String::new(),
        };
        let unit = self.unit;
        match self.kind {
            Kind::Bars => {
                let sum = values().map(u128::from).sum::<u128>();
                let sum = u64::try_from(sum).unwrap_or(u64::MAX);
                format!("{span}{} {unit} in all, at most {} at once, {} last.", count(sum), count(most), count(last))
            }
            Kind::Line => format!("{span}at most {} {unit}, {} last.", count(most), count(last)),
        }
    }

    /// The same as figures, without what is not known.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let known = self.points.iter().filter_map(|(label, value)| value.map(|value| (label, value)));
        known.map(|(label, value)| Row { label, value: count(value) }).collect()
    }

    fn bars(&self, svg: &mut String, top: f64) -> fmt::Result {
        let step = (WIDTH - LEFT) / self.points.len() as f64;
        let gap = (step * 0.2).min(4.0);
        for (place, (_, value)) in self.points.iter().enumerate() {
            let Some(value) = value.filter(|value| *value > 0) else { continue };
            let (x, y) = (LEFT + place as f64 * step + gap / 2.0, height(value, top));
            let (width, tall) = (step - gap, HEIGHT - BOTTOM - y);
            write!(svg, "<rect class=\"bar\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{tall:.1}\"/>")?;
        }
        Ok(())
    }

    fn line(&self, svg: &mut String, top: f64) -> fmt::Result {
        let step = (WIDTH - LEFT - 4.0) / (self.points.len().max(2) - 1) as f64;
        // What is not known is a gap in the line.
        let mut path = String::new();
        let mut pen = "M";
        let mut last = None;
        for (place, (_, value)) in self.points.iter().enumerate() {
            let Some(value) = value else {
                pen = "M";
                continue;
            };
            let at = (LEFT + place as f64 * step, height(*value, top));
            write!(path, "{pen}{:.1} {:.1}", at.0, at.1)?;
            (pen, last) = ("L", Some(at));
        }
        write!(svg, "<path class=\"line\" d=\"{path}\"/>")?;
        if let Some((x, y)) = last {
            write!(svg, "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>")?;
        }
        Ok(())
    }
}

/// An element of HTML: numbers, fixed words, and labels made of times.
impl fmt::Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        let top = ceiling(self.points.iter().filter_map(|(_, value)| *value).max().unwrap_or(0));
        write!(f, "<svg class=\"plot\" role=\"img\" aria-labelledby=\"{name}-title {name}-text\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">")?;
        write!(
            f,
            "<title id=\"{name}-title\">{}</title><desc id=\"{name}-text\">{}</desc>",
            self.title,
            self.description()
        )?;
        for share in [0.0, 0.5, 1.0] {
            let y = height_of(share);
            write!(f, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>")?;
            // Half of one line is no line.
            if share != 0.5 || top % 2 == 0 {
                let (x, y, number) = (LEFT - 8.0, y + 6.0, short(top as f64 * share));
                write!(f, "<text class=\"axis\" x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{number}</text>")?;
            }
        }
        let mut drawn = String::new();
        match self.kind {
            Kind::Bars => self.bars(&mut drawn, top as f64)?,
            Kind::Line => self.line(&mut drawn, top as f64)?,
        }
        f.write_str(&drawn)?;
        let y = HEIGHT - 5.0;
        if let (Some((first, _)), Some((last, _))) = (self.points.first(), self.points.last()) {
            write!(f, "<text class=\"axis\" x=\"{LEFT}\" y=\"{y}\">{first}</text>")?;
            write!(f, "<text class=\"axis\" x=\"{WIDTH}\" y=\"{y}\" text-anchor=\"end\">{last}</text>")?;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Plot {}

fn height(value: u64, top: f64) -> f64 {
    // However little it is, it is seen.
    let y = height_of(value as f64 / top);
    if value > 0 {
        y.min(HEIGHT - BOTTOM - 1.5)
    } else {
        y
    }
}

fn height_of(share: f64) -> f64 {
    TOP + (1.0 - share) * (HEIGHT - BOTTOM - TOP)
}

/// The next of 1, 2, 4, 5, 6, 8, 10, 20...
fn ceiling(most: u64) -> u64 {
    let mut unit = 1u64;
    loop {
        for step in [1, 2, 4, 5, 6, 8, 10] {
            let top = unit.saturating_mul(step);
            if top >= most.max(1) {
                return top;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// `250`, `1.5k`, `20M`
fn short(number: f64) -> String {
    let (value, unit) = match number {
        n if n >= 1e12 => (n / 1e12, "T"),
        n if n >= 1e9 => (n / 1e9, "G"),
        n if n >= 1e6 => (n / 1e6, "M"),
        n if n >= 1e3 => (n / 1e3, "k"),
        n => (n, ""),
    };
    let text = format!("{value:.1}");
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(kind: Kind, values: &[Option<u64>]) -> Plot {
        let points = values.iter().enumerate().map(|(at, value)| (format!("03:0{at}"), *value)).collect();
        Plot { name: "x", title: "Delivered", unit: "lines", kind, points }
    }

    #[test]
    fn what_is_known_is_drawn_and_said() {
        let bars = plot(Kind::Bars, &[Some(0), Some(1), Some(1500), None]);
        let svg = bars.to_string();
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains(">2k</text>") && svg.contains(">1k</text>") && svg.contains(">03:03</text>"), "{svg}");
        assert_eq!(bars.description(), "From 03:00 to 03:03: 1,501 lines in all, at most 1,500 at once, 1,500 last.");
        assert_eq!(bars.rows().len(), 3);

        let line = plot(Kind::Line, &[Some(3), None, Some(7), Some(8)]).to_string();
        assert_eq!((line.matches('M').count(), line.matches('L').count()), (2, 1), "{line}");
    }

    #[test]
    fn extremes_are_drawn_too() {
        for values in [&[][..], &[None], &[Some(0)], &[Some(u64::MAX)], &[Some(u64::MAX), Some(u64::MAX)]] {
            for kind in [Kind::Bars, Kind::Line] {
                let svg = plot(kind, values).to_string();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
        assert!(plot(Kind::Line, &[None]).is_empty());
        assert!(plot(Kind::Bars, &[None, Some(0)]).is_nothing() && !plot(Kind::Line, &[Some(0)]).is_nothing());
        assert_eq!([0, 1, 3, 7, 11, 1500].map(ceiling), [1, 1, 4, 8, 20, 2000]);
    }
}
