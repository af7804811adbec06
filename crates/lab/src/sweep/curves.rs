//! Curves through the points of a sweep.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Outcome, Point};
use crate::Error;
use crate::chart::{Axis, Chart, Series};
use crate::summary::count;

/// A number in a study's document that can be drawn.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Where it stands: `residue.mean`. Through a list of documents the mean over all is taken; a list of numbers is a
    /// curve by index.
    pub path: &'static str,
    /// As the axis calls it, with its unit.
    pub label: &'static str,
    /// Whether it is a share from 0 to 1.
    pub is_share: bool,
}

/// A formula for a point: as it is written, and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Law {
    /// `log2 n + ln n`.
    pub text: String,
    /// For the parameters of the point.
    pub value: f64,
    /// Whether it depends on nothing but what x shows, so that all lines have the same.
    pub of_x_alone: bool,
}

/// What to draw.
#[derive(Clone, Debug)]
pub struct View {
    /// Along the x axis: a swept parameter, or a field; by default the first parameter.
    pub x: Option<String>,
    /// Along the y axis: a field.
    pub y: String,
    /// Swept parameters over which the mean is taken.
    pub average: Vec<String>,
    /// Instead of a title made of the fields.
    pub title: Option<String>,
}

const STATISTICS: [&str; 4] = ["mean", "sd", "min", "max"];

impl View {
    /// Refuses what cannot be drawn of a study with these fields.
    ///
    /// # Errors
    /// [`Error::Value`] naming what is wrong.
    pub fn check(&self, over: &[super::Over], fields: &[Field]) -> Result<(), Error> {
        let names: Vec<&str> = over.iter().map(|over| over.name.as_str()).collect();
        let paths = || fields.iter().map(|field| field.path).collect::<Vec<_>>().join(", ");
        Error::unless(find(fields, &self.y).is_some(), "y", &self.y, &format!("one of {}", paths()))?;
        for name in &self.average {
            let rule = format!("swept over, that is one of {}", names.join(", "));
            Error::unless(names.contains(&name.as_str()), "average", name, &rule)?;
        }
        let x = self.x_name(over);
        if names.contains(&x) {
            Error::unless(!self.average.iter().any(|name| name == x), "average", x, "not what x shows")?;
            return Ok(());
        }
        let rule = format!("swept over ({}), or one of {}", names.join(", "), paths());
        Error::unless(find(fields, x).is_some(), "x", x, &rule)
    }

    /// Refuses words where the picture needs numbers.
    ///
    /// # Errors
    /// [`Error::Value`] naming the swept parameter and the word.
    pub fn check_numbers(&self, over: &[super::Over]) -> Result<(), Error> {
        let x = self.x_name(over);
        let mut values = over.iter().filter(|over| over.name == x).flat_map(|over| &over.values);
        match values.find(|value| number_of(value).is_none()) {
            Some(word) if !is_curve(&self.y) => Err(Error::value(
                x,
                word,
                "a number to be drawn along x, or choose another parameter or a field by --x",
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn x_name<'a>(&'a self, over: &'a [super::Over]) -> &'a str {
        self.x.as_deref().unwrap_or_else(|| over.first().map_or("", |over| over.name.as_str()))
    }
}

/// Durations and numbers, with what stands behind them left out.
fn number_of(text: &str) -> Option<f64> {
    let plain = text.parse().ok();
    plain.or_else(|| rumormill_core::duration::parse(text).ok().map(|duration| duration.as_secs_f64()))
}

fn find(fields: &[Field], path: &str) -> Option<Field> {
    let stem = |path: &str| path.rsplit_once('.').map(|(stem, last)| (stem.to_owned(), last.to_owned()));
    let same_but_statistic = |field: &&Field| {
        let (field, path) = (stem(field.path), stem(path));
        field.zip(path).is_some_and(|((a, mean), (b, other))| {
            a == b && STATISTICS.contains(&mean.as_str()) && STATISTICS.contains(&other.as_str())
        })
    };
    fields.iter().find(|field| field.path == path).or_else(|| fields.iter().find(same_but_statistic)).copied()
}

fn is_curve(path: &str) -> bool {
    path == "curve"
}

/// The number at a path; through a list the mean of what is there.
fn number_at(document: &Value, path: &str) -> Option<f64> {
    match document {
        Value::Number(number) if path.is_empty() => number.as_f64(),
        Value::Array(items) => mean(items.iter().filter_map(|item| number_at(item, path))),
        Value::Object(fields) => {
            let (first, rest) = path.split_once('.').unwrap_or((path, ""));
            number_at(fields.get(first)?, rest)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / count(values.len()))
}

impl Outcome {
    /// What a point shows: the swept value or field.
    pub fn value(&self, point: &Point, name: &str) -> Option<f64> {
        match point.parameters.get(name) {
            Some(Value::String(text)) => number_of(text),
            Some(value) => value.as_f64(),
            None => number_at(&point.outcome, name),
        }
    }

    /// Curves of what `view` asks for; `law` gives the formula for a point where there is one.
    ///
    /// # Errors
    /// [`Error::Value`] if no point has a number there.
    pub fn chart(&self, view: &View, fields: &[Field], law: impl Fn(&Point) -> Option<Law>) -> Result<Chart, Error> {
        view.check(&self.over, fields)?;
        view.check_numbers(&self.over)?;
        let field = find(fields, &view.y).expect("checked");
        let title = view.title.clone().unwrap_or_else(|| format!("lab {}: {}", self.of, field.label));
        let (x, series) = if is_curve(&view.y) { self.by_round(view) } else { self.by_point(view, fields, law) };
        let is_empty = series.iter().all(|series| series.points.is_empty());
        Error::unless(!is_empty, "y", &view.y, "a number at some point of the sweep")?;
        let ys = || series.iter().flat_map(|series| &series.points).map(|(_, y)| *y);
        let y = if field.is_share { Axis::share(field.label) } else { Axis::linear(field.label) };
        let y = if field.is_share && !is_curve(&view.y) && spans(ys(), 100.0) { y.on_powers() } else { y };
        Ok(Chart { title, x, y, series })
    }

    /// A curve for each point.
    fn by_round(&self, view: &View) -> (Axis, Vec<Series>) {
        let numbers = |document: &Value, key: &str| -> Vec<(f64, f64)> {
            let values = document.get(key).and_then(Value::as_array).into_iter().flatten();
            values.enumerate().filter_map(|(round, value)| Some((count(round), value.as_f64()?))).collect()
        };
        let mut series: Vec<Series> = self
            .points
            .iter()
            .map(|point| Series::measured(name_without(point, &[]), numbers(&point.outcome, &view.y)))
            .collect();
        let theory = self.points.iter().map(|point| {
            Series::theory(format!("{}, theory", name_without(point, &[])), numbers(&point.outcome, "theory"))
        });
        series.extend(theory.filter(|series| !series.points.is_empty()));
        (Axis::linear("round"), series)
    }

    fn by_point(&self, view: &View, fields: &[Field], law: impl Fn(&Point) -> Option<Law>) -> (Axis, Vec<Series>) {
        let x = view.x_name(&self.over);
        let along = if self.over.iter().any(|over| over.name == x) { x } else { self.over[0].name.as_str() };
        let hidden: Vec<&str> = view.average.iter().map(String::as_str).collect();
        // Points that differ in nothing but what is averaged are one; lines are what differs in more than `along`.
        let mut lines: Vec<Line<'_>> = Vec::new();
        for point in &self.points {
            let place = name_without(point, &hidden);
            let line = name_without(point, &[&hidden[..], &[along]].concat());
            let nth = lines.iter().position(|(name, _)| *name == line).unwrap_or_else(|| {
                lines.push((line, Vec::new()));
                lines.len() - 1
            });
            let places = &mut lines[nth].1;
            match places.iter_mut().find(|(name, _)| *name == place) {
                Some((_, points)) => points.push(point),
                None => places.push((place, vec![point])),
            }
        }
        let mean_of = |points: &[&Point], name: &str| mean(points.iter().filter_map(|point| self.value(point, name)));
        let (mut measured, mut laws) = (Vec::new(), Vec::new());
        for (name, places) in &lines {
            let name = if name.is_empty() { "measured" } else { name };
            let mut points: Vec<(f64, f64)> = places
                .iter()
                .filter_map(|(_, points)| Some((mean_of(points, x)?, mean_of(points, &view.y)?)))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            measured.push(Series::measured(name, points));
            let by_x = places.iter().filter_map(|(_, points)| {
                let law = law(points.first()?)?;
                Some((mean_of(points, x)?, law))
            });
            laws.push((name.to_owned(), by_x.collect::<Vec<(f64, Law)>>()));
        }
        let xs = || measured.iter().flat_map(|series| &series.points).map(|(x, _)| *x);
        let label = find(fields, x).map_or_else(|| x.replace('-', " "), |field| field.label.to_owned());
        let is_share = find(fields, x).map_or(x == "loss", |field| field.is_share);
        let axis = if is_share { Axis::share(label) } else { Axis::linear(label) };
        let axis = if spans(xs(), 50.0) && xs().all(|x| x > 0.0) { axis.on_powers() } else { axis };
        let theory = formulas(laws);
        measured.extend(theory);
        (axis, measured)
    }
}

/// A name, and its places along x with the points that are averaged there, each under what tells it from others.
type Line<'a> = (String, Vec<(String, Vec<&'a Point>)>);

/// A curve for each line's formula, or a single one where all lines have the same.
fn formulas(laws: Vec<(String, Vec<(f64, Law)>)>) -> Vec<Series> {
    let mut by_curve: BTreeMap<Vec<(u64, u64)>, usize> = BTreeMap::new();
    for (_, points) in &laws {
        *by_curve.entry(points.iter().map(|(x, law)| (x.to_bits(), law.value.to_bits())).collect()).or_default() += 1;
    }
    let texts: Vec<&str> = laws.iter().flat_map(|(_, points)| points).map(|(_, law)| law.text.as_str()).collect();
    let is_one_text = texts.windows(2).all(|pair| pair[0] == pair[1]);
    let has_all = laws.iter().all(|(_, points)| !points.is_empty());
    let is_law_of_x = has_all && laws.iter().flat_map(|(_, points)| points).all(|(_, law)| law.of_x_alone);
    if is_one_text && (by_curve.len() == 1 || is_law_of_x) {
        let text = texts.first().map_or_else(String::new, |text| format!("theory: {text}"));
        let series = curve(text, laws.into_iter().flat_map(|(_, points)| points));
        return if series.points.is_empty() { Vec::new() } else { vec![series] };
    }
    laws.into_iter()
        .filter(|(_, points)| !points.is_empty())
        .map(|(name, points)| {
            let text = &points[0].1.text;
            let is_same = points.iter().all(|(_, law)| law.text == *text);
            let text = if is_same { format!("{name}: {text}") } else { format!("{name}: theory") };
            curve(text, points.into_iter())
        })
        .collect()
}

fn curve(name: String, points: impl Iterator<Item = (f64, Law)>) -> Series {
    let mut points: Vec<(f64, f64)> = points.map(|(x, law)| (x, law.value)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.dedup();
    Series::theory(name, points)
}

/// Whether all that is above zero spans at least this ratio.
fn spans(values: impl Iterator<Item = f64>, ratio: f64) -> bool {
    let positive: Vec<f64> = values.filter(|value| *value > 0.0).collect();
    let low = positive.iter().copied().fold(f64::INFINITY, f64::min);
    positive.iter().any(|value| value / low >= ratio)
}

/// `push, fanout 2`: what a point is, some parameters left out.
fn name_without(point: &Point, left_out: &[&str]) -> String {
    let words = point.parameters.iter().filter(|(name, _)| !left_out.contains(&name.as_str()));
    let words = words.map(|(name, value)| match value.as_str() {
        Some(word) => word.to_owned(),
        None => format!("{} {value}", name.replace('-', " ")),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Over, combinations};
    use super::*;
    use crate::chart::{Kind, Scale, Unit};

    const FIELDS: &[Field] = &[
        Field { path: "late.mean", label: "rounds", is_share: false },
        Field { path: "failures.first", label: "seconds", is_share: false },
        Field { path: "residue.mean", label: "missed", is_share: true },
        Field { path: "curve", label: "informed", is_share: true },
    ];

    fn sweep(over: &[&str], outcome: impl Fn(&[(String, String)]) -> Value) -> Outcome {
        let over: Vec<Over> = over.iter().map(|text| text.parse().unwrap()).collect();
        let points = combinations(&over).unwrap().into_iter().enumerate().map(|(nth, point)| Point {
            nth,
            outcome: outcome(&point),
            parameters: point.into_iter().map(|(name, text)| (name, super::super::word_or_number(text))).collect(),
        });
        let points: Vec<Point> = points.collect();
        Outcome { of: "test".to_owned(), over, planned: points.len(), points, failed: Vec::new(), elapsed: None }
    }

    fn view(y: &str) -> View {
        View { x: None, y: y.to_owned(), average: Vec::new(), title: None }
    }

    fn of(point: &[(String, String)], nth: usize) -> f64 {
        point[nth].1.parse().unwrap()
    }

    #[test]
    fn a_line_for_each_mode_and_its_formula_beside() {
        let outcome =
            sweep(&["nodes=10,100,1000", "mode=push,pull"], |point| json!({ "late": { "mean": of(point, 0) } }));
        let law = |point: &Point| {
            let text = point.parameters["mode"].as_str()?.to_uppercase();
            Some(Law { text, value: 1.0, of_x_alone: false })
        };
        let chart = outcome.chart(&view("late.mean"), FIELDS, law).unwrap();
        let names: Vec<&str> = chart.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["push", "pull", "push: PUSH", "pull: PULL"]);
        assert_eq!(chart.series[1].points, [(10.0, 10.0), (100.0, 100.0), (1_000.0, 1_000.0)]);
        assert_eq!((chart.x.scale, chart.series[2].kind), (Scale::Logarithmic, Kind::Theory));
    }

    #[test]
    fn a_law_of_x_alone_is_one_curve() {
        let law = |_: &Point| Some(Law { text: "e^−m".to_owned(), value: 0.1, of_x_alone: true });
        for over in [&["stop=a,b"][..], &["stop=a,b", "loss=0,0.1"]] {
            let outcome = sweep(
                over,
                |point| json!({ "late": { "mean": 2.0 + count(point.len()) }, "residue": { "mean": 0.1 } }),
            );
            let view = View { x: Some("late.mean".to_owned()), ..view("residue.mean") };
            let chart = outcome.chart(&view, FIELDS, law).unwrap();
            let theory: Vec<_> = chart.series.iter().filter(|series| series.kind == Kind::Theory).collect();
            assert_eq!((theory.len(), theory[0].name.as_str()), (1, "theory: e^−m"));
            assert_eq!((chart.x.label.as_str(), chart.y.unit), ("rounds", Unit::Share));
        }
    }

    #[test]
    fn means_are_taken_over_seeds_and_over_lists_and_what_is_absent_is_left_out() {
        let outcome = sweep(&["loss=0,0.1,0.2", "seed=1..2"], |point| match of(point, 0) {
            loss if loss > 0.15 => json!({ "failures": [{ "first": null }] }),
            loss => json!({ "failures": [{ "first": loss }, { "first": of(point, 1) }, { "first": null }] }),
        });
        let view = View { average: vec!["seed".to_owned()], ..view("failures.first") };
        let chart = outcome.chart(&view, FIELDS, |_| None).unwrap();
        assert_eq!((chart.series.len(), chart.x.unit), (1, Unit::Share));
        let points = &chart.series[0].points;
        assert_eq!((points.len(), points[0]), (2, (0.0, 0.75)));
        assert!((points[1].1 - 0.8).abs() < 1e-12);
    }

    #[test]
    fn curves_are_drawn_by_round_each_beside_its_own_theory() {
        let outcome = sweep(&["mode=push,pull"], |_| json!({ "curve": [0.1, 0.5, 1.0], "theory": [0.1, 0.6] }));
        let chart = outcome.chart(&view("curve"), FIELDS, |_| None).unwrap();
        let names: Vec<&str> = chart.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["push", "pull", "push, theory", "pull, theory"]);
        assert_eq!(chart.series[0].points[2], (2.0, 1.0));
    }

    #[test]
    fn a_field_without_a_number_anywhere_is_refused() {
        let outcome = sweep(&["seed=1,2"], |_| json!({ "late": { "mean": null } }));
        let error = outcome.chart(&view("late.mean"), FIELDS, |_| None).unwrap_err();
        assert_eq!(error.to_string(), "y is late.mean, must be a number at some point of the sweep");
        assert!(view("late.sd").check(&outcome.over, FIELDS).is_ok());
        assert!(view("late").check(&outcome.over, FIELDS).is_err());
    }
}
