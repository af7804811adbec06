//! A chart as data: what is drawn as SVG or PNG, written as CSV, and shown on a terminal.

mod font;
mod layout;
mod png;
mod scene;
mod svg;
mod table;
mod ticks;

use std::fs::OpenOptions;
use std::io::ErrorKind;
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
    /// How its numbers are written.
    pub unit: Unit,
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

/// How the numbers of an axis are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// As they are; the label names the unit.
    Plain,
    /// A share from 0 to 1, written in percent.
    Share,
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

/// How a chart is drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Shapes: sharp at every size.
    Svg,
    /// Pixels.
    Png,
}

impl Format {
    /// The format that a file's name asks for.
    ///
    /// # Errors
    /// [`Error::Value`] if it ends in neither `.svg` nor `.png`.
    pub fn of(path: &Path) -> Result<Self, Error> {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("svg") => Ok(Self::Svg),
            Some("png") => Ok(Self::Png),
            Some(_) | None => Err(Error::value("plot", path.display(), "a file whose name ends in .svg or .png")),
        }
    }
}

impl Chart {
    /// Draws the chart: the same bytes for the same chart, on every machine.
    pub fn draw(&self, format: Format) -> Vec<u8> {
        let font = font::Font::new();
        let scene = layout::lay_out(self, &font);
        match format {
            Format::Svg => svg::render(&scene, &font).into_bytes(),
            Format::Png => png::render(&scene, &font),
        }
    }

    /// The data, a row for each point: `series,kind,` and the labels of both axes. Shares stay shares from 0 to 1.
    pub fn to_csv(&self) -> Vec<u8> {
        table::write(self)
    }

    /// Draws the chart into a file that ends in `.svg` or `.png`.
    ///
    /// # Errors
    /// [`Error::Value`] for another ending, [`Error::File`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let format = Format::of(path)?;
        write(path, &self.draw(format))
    }

    /// Writes the data into a file.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<(), Error> {
        write(path, &self.to_csv())
    }
}

/// Finds out whether a file can be written, before the work whose result it shall take. A file that is there keeps what
/// it holds; one that is not is not there afterwards.
///
/// # Errors
/// [`Error::File`] if it cannot.
pub fn check_writable(path: &Path) -> Result<(), Error> {
    let tried = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => OpenOptions::new().append(true).open(path).map(drop),
        Err(error) => Err(error),
    };
    tried.map_err(|error| Error::File { path: path.to_owned(), error })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(path, bytes).map_err(|error| Error::File { path: path.to_owned(), error })
}

impl Axis {
    /// An axis of equal differences.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear, unit: Unit::Plain }
    }

    /// An axis of equal ratios.
    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Logarithmic, unit: Unit::Plain }
    }

    /// An axis of shares from 0 to 1, in percent.
    pub fn share(label: impl Into<String>) -> Self {
        Self { unit: Unit::Share, ..Self::linear(label) }
    }

    /// The same axis with equal steps for equal ratios.
    #[must_use]
    pub fn on_powers(self) -> Self {
        Self { scale: Scale::Logarithmic, ..self }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        Chart {
            title: "Informed & curious <nodes>".to_owned(),
            x: Axis::linear("round"),
            y: Axis::share("informed nodes"),
            series: vec![
                Series::measured("push", vec![(0.0, 0.001), (5.0, 0.25), (10.0, 1.0)]),
                Series::measured("pull, \"quoted\"", vec![(0.0, 0.001), (10.0, f64::NAN)]),
                Series::theory("push, theory", vec![(0.0, 0.001), (5.0, 0.3), (10.0, 1.0)]),
            ],
        }
    }

    fn svg(chart: &Chart) -> String {
        String::from_utf8(chart.draw(Format::Svg)).unwrap()
    }

    #[test]
    fn the_same_chart_is_the_same_bytes() {
        for format in [Format::Svg, Format::Png] {
            assert_eq!(chart().draw(format), chart().draw(format));
        }
    }

    #[test]
    fn a_picture_names_what_it_shows_and_needs_no_font() {
        let svg = svg(&chart());
        for words in
            ["Informed &amp; curious &lt;nodes&gt;", "round", "informed nodes", "push", "push, theory", "100 %"]
        {
            assert!(svg.contains(&format!("aria-label=\"{words}\"")), "{words}");
        }
        assert!(!svg.contains("<text") && !svg.contains("font-family"));
    }

    #[test]
    fn formulas_are_dashed_and_measurements_are_not() {
        // The sample in the legend and the curve.
        assert_eq!(svg(&chart()).matches("stroke-dasharray").count(), 2);
        let measured = Chart { series: chart().series[..2].to_vec(), ..chart() };
        assert_eq!(svg(&measured).matches("stroke-dasharray").count(), 0);
    }

    #[test]
    fn a_png_is_one_and_has_twice_the_pixels() {
        let png = chart().draw(Format::Png);
        let decoded = tiny_skia::Pixmap::decode_png(&png).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (1_600, 1_000));
        let drawn = decoded.pixels().iter().filter(|pixel| pixel.red() < 100).count();
        assert!(drawn > 5_000, "{drawn} dark pixels");
    }

    #[test]
    fn charts_without_anything_to_show_are_axes() {
        for series in
            [Vec::new(), vec![Series::measured("", Vec::new())], vec![Series::theory("one", vec![(0.0, 0.0)])]]
        {
            for y in [Axis::linear("y"), Axis::logarithmic("y")] {
                let empty = Chart { y, series: series.clone(), ..chart() };
                assert!(svg(&empty).ends_with("</svg>\n"));
                empty.draw(Format::Png);
            }
        }
    }

    #[test]
    fn data_come_as_a_row_for_each_point_under_the_labels_of_the_axes() {
        let csv = String::from_utf8(chart().to_csv()).unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(
            lines[..3],
            ["series,kind,round,informed nodes (share)", "push,measured,0,0.001", "push,measured,5,0.25"]
        );
        assert_eq!(lines[4], "\"pull, \"\"quoted\"\"\",measured,0,0.001");
        assert_eq!(lines[6], "\"push, theory\",theory,0,0.001");
    }

    #[test]
    fn a_file_of_another_kind_is_refused_by_name() {
        for name in ["a.jpg", "svg", "a.svg.gz", ""] {
            let error = chart().write(Path::new(name)).unwrap_err();
            assert_eq!(error.to_string(), format!("plot is {name}, must be a file whose name ends in .svg or .png"));
        }
        assert_eq!(Format::of(Path::new("A.SVG")).unwrap(), Format::Svg);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_found_out_before() {
        let error = check_writable(Path::new("/nowhere/at/all.svg")).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/at/all.svg: "), "{error}");
    }
}
