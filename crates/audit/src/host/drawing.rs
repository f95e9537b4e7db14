//! What pictures are drawn of: a scale of time, lines, words, and words that keep out of each other's way.

use std::fmt::Write;

/// Pixels for a second, in a long audit and in a quick one, whose bands are narrow and have names, too.
const SECOND: (f64, f64) = (60.0, 140.0);
/// Up to so many seconds it is a quick one.
const QUICK: u64 = 30;
/// What is kept free on the left, for what lines mean.
pub(super) const LEFT: f64 = 60.0;
/// A line of slanted words takes so much.
const WORD: f64 = 14.0;

/// Time, from microseconds to pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    start: u64,
    end: u64,
}

impl Scale {
    /// From the first of these times to the last.
    pub(super) fn of(times: impl Iterator<Item = u64>) -> Self {
        let ends = times.fold(None, |ends: Option<(u64, u64)>, at| {
            Some(ends.map_or((at, at), |(first, last)| (first.min(at), last.max(at))))
        });
        let (start, end) = ends.unwrap_or((0, 1));
        Self { start, end }
    }

    pub(super) fn x(self, at: u64) -> f64 {
        let second = if self.end - self.start > QUICK * 1_000_000 { SECOND.0 } else { SECOND.1 };
        LEFT + at.saturating_sub(self.start) as f64 / 1e6 * second
    }

    /// Of the whole picture; the last words are slanted.
    pub(super) fn width(self) -> f64 {
        self.x(self.end) + 110.0
    }

    /// Up to here there is something to see.
    pub(super) fn right(self) -> f64 {
        self.x(self.end)
    }

    /// Each second, or some of them, below.
    pub(super) fn axis(self, svg: &mut String, y: f64) {
        text(svg, (LEFT - 6.0, y), "class=\"soft\" text-anchor=\"end\"", "time");
        for second in (0..=(self.end - self.start) / 1_000_000).step_by(2) {
            let x = self.x(self.start + second * 1_000_000);
            text(svg, (x, y), "class=\"soft\"", &format!("{second} s"));
            line(svg, (x, y - 20.0), (x, y - 12.0), "class=\"grid\"");
        }
    }
}

/// Words; what they are is escaped by the caller.
pub(super) fn text(svg: &mut String, (x, y): (f64, f64), attributes: &str, words: &str) {
    put(svg, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{words}</text>"));
}

/// A straight line.
pub(super) fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), attributes: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    put(
        svg,
        format_args!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {attributes}/>"),
    );
}

/// A filled box, with what is inside it.
pub(super) fn area(svg: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), attributes: &str) {
    put(
        svg,
        format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {attributes}/>"
        ),
    );
}

/// A line through all points.
pub(super) fn path(svg: &mut String, points: &[(f64, f64)], colour: &str, title: &str) {
    put(svg, format_args!("<path stroke=\"{colour}\" d=\""));
    for (number, (x, y)) in points.iter().enumerate() {
        put(svg, format_args!("{}{x:.1} {y:.1}", if number == 0 { 'M' } else { 'L' }));
    }
    put(svg, format_args!("\"><title>{title}</title></path>"));
}

/// What colours mean, one after the other from `x` on.
pub(super) fn legend(svg: &mut String, (mut x, y): (f64, f64), entries: &[(&str, &str)], is_line: bool) {
    for (name, colour) in entries {
        let (top, height) = if is_line { (y - 5.0, 3.0) } else { (y - 10.0, 12.0) };
        area(svg, (x, top), (18.0, height), &format!("style=\"{colour}\""));
        text(svg, (x + 24.0, y), "", name);
        x += 50.0 + 7.0 * name.len() as f64;
    }
}

/// Where slanted words stand, each as near as can be to where it should, and none upon another: `wanted`
/// is in order.
pub(super) fn spread(wanted: &[f64], right: f64) -> Vec<f64> {
    let mut places: Vec<f64> = Vec::with_capacity(wanted.len());
    for want in wanted {
        let least = places.last().map_or(f64::MIN, |last| last + WORD);
        places.push(want.max(least));
    }
    let mut most = right;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - WORD;
    }
    places
}

fn put(svg: &mut String, piece: std::fmt::Arguments<'_>) {
    // Writing into a string cannot fail.
    let _ = svg.write_fmt(piece);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_out_of_each_others_way() {
        assert_eq!(spread(&[10.0, 100.0], 200.0), [10.0, 100.0]);
        assert_eq!(spread(&[10.0, 11.0, 12.0], 200.0), [10.0, 10.0 + WORD, 10.0 + 2.0 * WORD]);
        assert_eq!(spread(&[198.0, 199.0], 200.0), [200.0 - WORD, 200.0]);
        assert_eq!(spread(&[], 1.0), Vec::<f64>::new());
    }

    #[test]
    fn time_goes_from_left_to_right() {
        let scale = Scale::of([3_000_000, 1_000_000, 2_000_000].into_iter());
        assert_eq!((scale.x(1_000_000), scale.right()), (LEFT, LEFT + 2.0 * SECOND.1));
        assert!(Scale::of(std::iter::empty()).width() > LEFT);
    }
}
