//! Where an axis begins and ends, where it is marked, and what stands at the marks.

use super::{Axis, Scale, Unit};

/// An axis that is ready to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ruler {
    scale: Scale,
    from: f64,
    to: f64,
    pub(super) ticks: Vec<Tick>,
}

/// A mark.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    /// `None` for a small mark between two others.
    pub(super) label: Option<String>,
}

/// Whether an axis goes on to the next mark beyond the data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ends {
    OnMarks,
    WithData,
}

impl Ruler {
    /// The axis for these values, with about so many labels.
    pub(super) fn new(axis: &Axis, values: impl Iterator<Item = f64>, ends: Ends, labels: f64) -> Self {
        let shown = values.filter(|value| value.is_finite() && (axis.scale == Scale::Linear || *value > 0.0));
        let (low, high) =
            shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        match axis.scale {
            Scale::Linear => linear(low, high, ends, labels, axis.unit),
            Scale::Logarithmic => logarithmic(low, high, ends, labels, axis.unit),
        }
    }

    /// Where a value lies on the axis, 0 at its begin and 1 at its end; `None` for what it cannot show.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let (from, to, value) = match self.scale {
            Scale::Linear => (self.from, self.to, value),
            Scale::Logarithmic if value > 0.0 => (self.from.log10(), self.to.log10(), value.log10()),
            Scale::Logarithmic => return None,
        };
        value.is_finite().then(|| (value - from) / (to - from))
    }
}

fn linear(low: f64, high: f64, ends: Ends, labels: f64, unit: Unit) -> Ruler {
    let (mut low, mut high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    // Zero belongs to the picture where it is not far away.
    // So it does where hardly anything changes: magnified, chance would look like a trend.
    if low > 0.0 && (low < 0.5 * high || low > 0.98 * high) && ends == Ends::OnMarks {
        low = 0.0;
    }
    if unit == Unit::Share && low >= 0.0 && high > 0.5 && high <= 1.0 && ends == Ends::OnMarks {
        (low, high) = (0.0, 1.0);
    }
    // One value alone gets some room around it.
    if high - low <= 1e-9 * high.abs() {
        let room = if high.abs() > 0.0 { 0.5 * high.abs() } else { 1.0 };
        (low, high) = (low - room, high + room);
    }
    let step = step((high - low) / labels);
    let (first, last) = match ends {
        Ends::OnMarks => ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil()),
        Ends::WithData => ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor()),
    };
    let ticks: Vec<Tick> = whole(first, last)
        .map(|nth| f64::from(nth) * step)
        .map(|at| Tick { at, label: Some(unit.label(at, step)) })
        .collect();
    let (from, to) = match ends {
        Ends::OnMarks => (first * step, last * step),
        Ends::WithData => (low, high),
    };
    Ruler { scale: Scale::Linear, from, to, ticks }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least * (1.0 - 1e-9)).unwrap_or(10.0);
    factor * power
}

fn logarithmic(low: f64, high: f64, ends: Ends, labels: f64, unit: Unit) -> Ruler {
    let (mut from, mut to) = if low <= high { (low, high) } else { (1.0, 10.0) };
    let (first, last) = ((from.log10() + 1e-9).floor(), (to.log10() - 1e-9).ceil());
    if ends == Ends::OnMarks && last - first >= 2.0 {
        (from, to) = (10_f64.powf(first), 10_f64.powf(last));
    } else if to / from < 1.01 {
        (from, to) = (from / 2.0, to * 2.0);
    }
    let decades = to.log10() - from.log10();
    // Few powers of ten within reach: 1, 2, 5 as well.
    let labelled: &[i32] = match decades {
        _ if decades < 0.8 => &[1, 2, 3, 4, 5, 6, 7, 8, 9],
        _ if decades < 1.5 => &[1, 2, 5],
        _ => &[1],
    };
    let every = (decades / (1.5 * labels)).ceil().max(1.0);
    let in_full = unit.powers_in_full();
    let in_full = in_full.contains(&rounded(first)) && in_full.contains(&rounded(last));
    let mut ticks = Vec::new();
    for power in whole(first, last) {
        let unit_here = 10_f64.powi(power);
        for digit in 1..10 {
            let at = f64::from(digit) * unit_here;
            let is_labelled = labelled.contains(&digit) && (f64::from(power) - first).rem_euclid(every) < 0.5;
            let label = is_labelled.then(|| if in_full { unit.label(at, at) } else { unit.power(power) });
            if at >= from * (1.0 - 1e-9) && at <= to * (1.0 + 1e-9) && (label.is_some() || every < 1.5) {
                ticks.push(Tick { at, label });
            }
        }
    }
    Ruler { scale: Scale::Logarithmic, from, to, ticks }
}

impl Unit {
    /// A value as it stands at its mark; marks are `step` apart.
    fn label(self, value: f64, step: f64) -> String {
        match self {
            Self::Plain => plain(value, step),
            Self::Share => format!("{} %", plain(value * 100.0, step * 100.0)),
        }
    }

    /// A power of ten, on an axis that reaches beyond what is written in full.
    fn power(self, power: i32) -> String {
        match self {
            Self::Plain | Self::Share if power == 0 => self.label(1.0, 1.0),
            Self::Plain => format!("10{}", superscript(power)),
            Self::Share if power >= -2 => self.label(10_f64.powi(power), 0.01),
            Self::Share => format!("10{} %", superscript(power + 2)),
        }
    }

    /// Between which powers of ten all are written in full: 0.001 to 1,000,000, 0.001 % to 100 %.
    const fn powers_in_full(self) -> std::ops::RangeInclusive<i32> {
        match self {
            Self::Plain => -3..=6,
            Self::Share => -5..=2,
        }
    }
}

/// `12,000`, `0.05`, `−3`: as many decimals as steps need.
fn plain(value: f64, step: f64) -> String {
    let decimals = usize::try_from(rounded(-(step.log10() + 1e-9).floor()).max(0)).unwrap_or_default();
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, part)| (whole, Some(part)));
    let mut grouped = String::new();
    for (nth, digit) in whole.chars().enumerate() {
        if nth > 0 && (whole.len() - nth).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if !text.contains(|digit: char| digit.is_ascii_digit() && digit != '0') {
        return "0".to_owned();
    }
    let sign = if value < 0.0 { "−" } else { "" };
    fraction.map_or_else(|| format!("{sign}{grouped}"), |fraction| format!("{sign}{grouped}.{fraction}"))
}

fn superscript(power: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digits = power.unsigned_abs().to_string();
    let sign = (power < 0).then_some('⁻');
    let raised = digits.chars().filter_map(|digit| digit.to_digit(10)).filter_map(|digit| {
        let nth = usize::try_from(digit).ok()?;
        DIGITS.get(nth).copied()
    });
    sign.into_iter().chain(raised).collect()
}

/// The whole numbers from one to another.
fn whole(first: f64, last: f64) -> std::ops::RangeInclusive<i32> {
    rounded(first)..=rounded(last)
}

#[expect(clippy::cast_possible_truncation, reason = "powers of ten and numbers of marks; a cast saturates")]
fn rounded(value: f64) -> i32 {
    value.round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, values: &[f64], ends: Ends) -> Vec<String> {
        Ruler::new(axis, values.iter().copied(), ends, 6.0).ticks.into_iter().filter_map(|tick| tick.label).collect()
    }

    #[test]
    fn linear_axes_are_marked_at_round_numbers_beyond_the_data() {
        assert_eq!(labels(&Axis::linear("rounds"), &[0.0, 17.3], Ends::OnMarks), ["0", "5", "10", "15", "20"]);
        assert_eq!(labels(&Axis::linear("rounds"), &[0.0, 17.3], Ends::WithData), ["0", "5", "10", "15"]);
        assert_eq!(
            labels(&Axis::linear("m"), &[-0.3, 0.25], Ends::OnMarks),
            ["−0.3", "−0.2", "−0.1", "0", "0.1", "0.2", "0.3"]
        );
        assert_eq!(
            labels(&Axis::linear("B/s"), &[0.0, 12_000.0], Ends::WithData),
            ["0", "2,000", "4,000", "6,000", "8,000", "10,000", "12,000"]
        );
    }

    #[test]
    fn what_hardly_changes_is_not_magnified() {
        assert_eq!(labels(&Axis::linear("B/s"), &[139.99, 140.0], Ends::OnMarks), ["0", "50", "100", "150"]);
        assert_eq!(labels(&Axis::linear("s"), &[3.6, 5.6], Ends::OnMarks), ["3.5", "4.0", "4.5", "5.0", "5.5", "6.0"]);
    }

    #[test]
    fn shares_are_percents_and_go_from_none_to_all() {
        assert_eq!(
            labels(&Axis::share("nodes"), &[0.001, 0.93], Ends::OnMarks),
            ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]
        );
        assert_eq!(
            labels(&Axis::share("loss"), &[0.0, 0.05], Ends::WithData),
            ["0 %", "1 %", "2 %", "3 %", "4 %", "5 %"]
        );
    }

    #[test]
    fn logarithmic_axes_are_marked_at_powers_of_ten() {
        let axis = Axis::logarithmic("nodes");
        assert_eq!(labels(&axis, &[100.0, 1e6], Ends::WithData), ["100", "1,000", "10,000", "100,000", "1,000,000"]);
        assert_eq!(labels(&axis, &[3e-5, 0.8], Ends::OnMarks), ["10⁻⁵", "10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "1"]);
        assert_eq!(labels(&axis, &[20.0, 70.0], Ends::WithData), ["20", "30", "40", "50", "60", "70"]);
        assert_eq!(labels(&axis, &[20.0, 300.0], Ends::WithData), ["20", "50", "100", "200"]);
        let share = Axis::share("residue").on_powers();
        assert_eq!(labels(&share, &[1e-4, 0.2], Ends::OnMarks), ["0.01 %", "0.1 %", "1 %", "10 %", "100 %"]);
        assert_eq!(
            labels(&share, &[1e-6, 0.05], Ends::OnMarks),
            ["10⁻⁴ %", "10⁻³ %", "10⁻² %", "10⁻¹ %", "1 %", "10 %"]
        );
    }

    #[test]
    fn what_an_axis_cannot_show_has_no_place_on_it() {
        let log = Ruler::new(&Axis::logarithmic("n"), [1.0, 100.0].into_iter(), Ends::WithData, 6.0);
        assert_eq!(log.place(0.0), None);
        assert!((log.place(10.0).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(log.place(f64::NAN), None);
    }

    #[test]
    fn axes_of_one_value_or_none_have_some_length() {
        for axis in [Axis::linear("x"), Axis::logarithmic("x"), Axis::share("x")] {
            for values in [&[][..], &[0.0], &[7.0], &[1e-300], &[1e300], &[-2.0], &[f64::NAN]] {
                let ruler = Ruler::new(&axis, values.iter().copied(), Ends::OnMarks, 6.0);
                assert!(ruler.to > ruler.from, "{axis:?} {values:?} {ruler:?}");
                assert!(ruler.ticks.len() < 1_000, "{axis:?} {values:?}");
            }
        }
    }
}
