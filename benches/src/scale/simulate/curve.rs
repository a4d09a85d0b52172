//! How many lists are right over time, and the picture of it.

use api::Moment;

/// One look.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Seconds since the world began.
    pub second: f64,
    /// The share of lists, of all that somebody holds, that say what is so.
    pub right: f64,
    /// Lists with endpoints that are no longer told and serve.
    pub kept: u64,
}

/// The looks of one world, and when its troubles began.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// In their order.
    pub points: Vec<Point>,
    /// When, and what.
    pub marks: Vec<(f64, String)>,
}

impl Curve {
    pub(super) fn push(&mut self, now: Moment, right: u64, all: u64, kept: u64) {
        let right = right as f64 / all.max(1) as f64;
        self.points.push(Point { second: seconds(now), right, kept });
    }

    pub(super) fn mark(&mut self, now: Moment, what: &str) {
        self.marks.push((seconds(now), what.to_owned()));
    }

    /// From when on every list was right.
    pub fn settled(&self) -> Option<f64> {
        let wrong = self.points.iter().rposition(|point| point.right < 1.0);
        let first = wrong.map_or(0, |at| at + 1);
        self.points.get(first).map(|point| point.second)
    }
}

fn seconds(now: Moment) -> f64 {
    now.since(Moment::ZERO).as_secs_f64()
}

/// The picture of one curve: its width, its height, the room left of it and between two.
const WIDTH: f64 = 840.0;
const HEIGHT: f64 = 110.0;
const LEFT: f64 = 60.0;
const BETWEEN: f64 = 50.0;

/// `curves`, each with its name, below each other as SVG: the share of right lists from 0 to 100 %.
pub fn plot(curves: &[(String, Curve)]) -> String {
    let height = BETWEEN + curves.len() as f64 * (HEIGHT + BETWEEN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        WIDTH + 2.0 * LEFT
    );
    let end = curves.iter().filter_map(|(_, curve)| Some(curve.points.last()?.second)).fold(1.0, f64::max);
    for (number, (name, curve)) in curves.iter().enumerate() {
        let top = BETWEEN + number as f64 * (HEIGHT + BETWEEN);
        let x = |second: f64| LEFT + second / end * WIDTH;
        let y = |share: f64| top + (1.0 - share) * HEIGHT;
        let mut line = |text: String| {
            svg.push_str(&text);
            svg.push('\n');
        };
        line(format!("<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{name}</text>", top - 18.0));
        for (share, words) in [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")] {
            line(format!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{words}</text>",
                LEFT - 6.0,
                y(share) + 4.0
            ));
            line(format!(
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{1}\" y2=\"{1}\" stroke=\"#ddd\"/>",
                LEFT + WIDTH,
                y(share)
            ));
        }
        for (second, what) in &curve.marks {
            let at = x(*second);
            line(format!(
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"#c33\" stroke-dasharray=\"3\"/>",
                y(1.0) - 4.0,
                y(0.0)
            ));
            line(format!("<text x=\"{:.1}\" y=\"{}\" fill=\"#c33\">{what}</text>", at + 2.0, y(1.0) - 6.0));
        }
        let points = curve.points.iter().map(|point| format!("{:.1},{:.1}", x(point.second), y(point.right)));
        line(format!(
            "<polyline fill=\"none\" stroke=\"#06c\" stroke-width=\"1.5\" points=\"{}\"/>",
            points.collect::<Vec<_>>().join(" ")
        ));
        line(format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{end:.0} s</text>",
            LEFT + WIDTH,
            y(0.0) + 14.0
        ));
    }
    svg.push_str("</svg>\n");
    svg
}
