//! A chart as data: what is drawn as SVG or PNG, written as CSV, and shown on a terminal.

use std::path::Path;

use serde::Serialize;

use crate::Error;

/// Curves over two axes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chart {
    /// What is shown, in one line.
    pub title: String,
    /// Below.
    pub x: Axis,
    /// At the left.
    pub y: Axis,
    /// What is drawn, in the order of the legend.
    pub series: Vec<Series>,
}

/// An axis.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Axis {
    /// What it measures, with its unit: `rounds`, `time (s)`.
    pub label: String,
    /// How it is divided.
    pub scale: Scale,
}

/// How an axis is divided.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Equal steps are equal differences.
    Linear,
    /// Equal steps are equal ratios; only values above zero are drawn.
    Logarithmic,
}

/// One curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// As the legend calls it.
    pub name: String,
    /// Where it comes from, which decides how it is drawn.
    pub kind: Kind,
    /// (x, y), by x.
    pub points: Vec<(f64, f64)>,
}

/// Where a curve comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Measured: drawn as a line with markers.
    Measured,
    /// A formula: drawn dashed.
    Theory,
}

impl Chart {
    /// Draws it into a file, as SVG or PNG by the ending of its name.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        Err(Error::value("plot", path.display(), "left out: nothing draws yet"))
    }

    /// Writes its points to a file, as comma-separated values.
    pub fn write_csv(&self, path: &Path) -> Result<(), Error> {
        Err(Error::value("csv", path.display(), "left out: nothing writes yet"))
    }
}

impl Axis {
    /// An axis of equal differences.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear }
    }

    /// An axis of equal ratios.
    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Logarithmic }
    }
}

impl Series {
    /// A measured curve.
    pub fn measured(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), kind: Kind::Measured, points }
    }

    /// A formula's curve.
    pub fn theory(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), kind: Kind::Theory, points }
    }
}
