//! A chart as a picture: where everything goes.

use tiny_skia::{Path, PathBuilder, Rect};

use super::font::Font;
use super::scene::{Anchor, Colour, Pen, Scene, Shape, Text, Way};
use super::ticks::{Ends, Ruler, Tick};
use super::{Chart, Kind, Series};

/// The sheet.
const WIDTH: f32 = 800.0;
const HEIGHT: f32 = 500.0;
/// Around everything.
const MARGIN: f32 = 20.0;
/// About this far apart are labels on the axes.
const LABELS_ACROSS: f64 = 9.0;
const LABELS_UP: f64 = 6.0;

const TITLE_SIZE: f32 = 17.0;
const LABEL_SIZE: f32 = 14.0;
const TICK_SIZE: f32 = 12.5;

const INK: Colour = Colour(0x22, 0x22, 0x22);
const FAINT_INK: Colour = Colour(0x55, 0x55, 0x55);
const GRID: Colour = Colour(0xe4, 0xe4, 0xe4);
const PAPER: Colour = Colour(0xff, 0xff, 0xff);

/// Colours that those tell apart who see few (Okabe and Ito 2008), from dark to light as well.
const COLOURS: [Colour; 7] = [
    Colour(0x00, 0x5a, 0x9c),
    Colour(0xd5, 0x5e, 0x00),
    Colour(0x00, 0x8a, 0x64),
    Colour(0xb0, 0x4f, 0x8a),
    Colour(0x33, 0x33, 0x33),
    Colour(0x3f, 0xa4, 0xd8),
    Colour(0xc9, 0x8f, 0x00),
];

/// How formulas differ from each other without colour.
const DASHES: [&[f32]; 6] =
    [&[7.0, 4.0], &[2.0, 3.0], &[10.0, 3.0, 2.0, 3.0], &[14.0, 4.0], &[5.0, 2.0, 1.5, 2.0, 1.5, 2.0], &[3.0, 6.0]];

/// How measurements differ from each other without colour.
#[derive(Clone, Copy, Debug)]
enum Marker {
    Disc,
    Square,
    Triangle,
    Ring,
    Diamond,
    Frame,
    Turned,
    Lozenge,
}

const MARKERS: [Marker; 8] = [
    Marker::Disc,
    Marker::Square,
    Marker::Triangle,
    Marker::Ring,
    Marker::Diamond,
    Marker::Frame,
    Marker::Turned,
    Marker::Lozenge,
];

/// From its middle to its edge.
const MARKER_RADIUS: f32 = 4.2;
/// Markers of one curve are at least this far apart.
const MARKER_DISTANCE: f32 = 34.0;
/// The sample of a curve in the legend.
const SAMPLE: f32 = 38.0;
const LEGEND_LINE: f32 = 21.0;

/// How one curve is drawn.
#[derive(Clone, Copy, Debug)]
struct Look {
    colour: Colour,
    pen: Pen,
    /// None for formulas.
    marker: Option<Marker>,
    /// Which of the curves it is: markers of curves that coincide are put at different points.
    nth: usize,
}

/// The picture.
pub(super) fn lay_out(chart: &Chart, font: &Font) -> Scene {
    let looks = looks(&chart.series);
    let mut sheet = Sheet { font, shapes: Vec::new() };
    sheet.text(&chart.title, (MARGIN, MARGIN + TITLE_SIZE * 0.8), TITLE_SIZE, Anchor::Start, INK);
    let below_title = MARGIN + TITLE_SIZE + 10.0;
    let top = sheet.legend(&chart.series, &looks, below_title) + 12.0;
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let across = Ruler::new(&chart.x, points().map(|(x, _)| *x), Ends::WithData, LABELS_ACROSS);
    let up = Ruler::new(&chart.y, points().map(|(_, y)| *y), Ends::OnMarks, LABELS_UP);
    let widest = labels(&up).map(|(_, label)| font.width(label, TICK_SIZE)).fold(0.0, f32::max);
    let plot = Plot {
        left: MARGIN + LABEL_SIZE + 12.0 + widest + 8.0,
        right: WIDTH - MARGIN - 16.0,
        top,
        bottom: HEIGHT - MARGIN - LABEL_SIZE - TICK_SIZE - 20.0,
        across,
        up,
    };
    sheet.axes(&plot, &chart.x.label, &chart.y.label);
    // Formulas above measurements: thin dashes on a broad line show that both are there.
    for kind in [Kind::Measured, Kind::Theory] {
        for (series, look) in chart.series.iter().zip(&looks).filter(|(series, _)| series.kind == kind) {
            sheet.curve(&plot, series, look);
        }
    }
    Scene { width: WIDTH, height: HEIGHT, title: chart.title.clone(), shapes: sheet.shapes }
}

/// A formula has the colour of the measurement whose name its own begins with, darker.
fn looks(series: &[Series]) -> Vec<Look> {
    let measured: Vec<&Series> = series.iter().filter(|series| series.kind == Kind::Measured).collect();
    let (mut measurements, mut formulas) = (0, 0);
    let mut look = |series: &Series| match series.kind {
        Kind::Measured => {
            let nth = measurements;
            measurements += 1;
            let colour = COLOURS[nth % COLOURS.len()];
            Look { colour, pen: Pen::solid(colour, 2.4), marker: Some(MARKERS[nth % MARKERS.len()]), nth }
        }
        Kind::Theory => {
            let nth = formulas;
            formulas += 1;
            let partner = measured.iter().enumerate().filter(|(_, other)| series.name.starts_with(&other.name));
            let partner = partner.max_by_key(|(_, other)| other.name.len()).map(|(partner, _)| partner);
            let colour = partner.map_or(INK, |partner| darker(COLOURS[partner % COLOURS.len()]));
            Look { colour, pen: Pen { colour, width: 1.5, dashes: DASHES[nth % DASHES.len()] }, marker: None, nth }
        }
    };
    series.iter().map(&mut look).collect()
}

fn darker(Colour(red, green, blue): Colour) -> Colour {
    Colour(red / 5 * 2, green / 5 * 2, blue / 5 * 2)
}

/// The field within the axes.
#[derive(Debug)]
struct Plot {
    left: f32,
    right: f32,
    top: f32,
    bottom: f32,
    across: Ruler,
    up: Ruler,
}

impl Plot {
    fn x(&self, value: f64) -> Option<f32> {
        self.across.place(value).map(|place| self.left + narrow(place) * (self.right - self.left))
    }

    fn y(&self, value: f64) -> Option<f32> {
        self.up.place(value).map(|place| self.bottom - narrow(place) * (self.bottom - self.top))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a place on a sheet of some hundred pixels")]
const fn narrow(place: f64) -> f32 {
    place as f32
}

fn labels(ruler: &Ruler) -> impl Iterator<Item = (&Tick, &str)> {
    ruler.ticks.iter().filter_map(|tick| Some((tick, tick.label.as_deref()?)))
}

/// What is drawn so far.
struct Sheet<'a> {
    font: &'a Font,
    shapes: Vec<Shape>,
}

impl Sheet<'_> {
    /// The curves' names under the title, in columns, formulas on lines of their own; says where it ends.
    fn legend(&mut self, series: &[Series], looks: &[Look], top: f32) -> f32 {
        let widths = series.iter().map(|series| SAMPLE + 8.0 + self.font.width(&series.name, LABEL_SIZE) + 22.0);
        let column = widths.fold(1.0, f32::max);
        let (mut x, mut y) = (MARGIN, top);
        let mut kind = series.first().map(|series| series.kind);
        for (series, look) in series.iter().zip(looks) {
            let is_next_kind = kind.replace(series.kind) != Some(series.kind);
            if x > MARGIN && (is_next_kind || x + column > WIDTH - MARGIN + 22.0) {
                (x, y) = (MARGIN, y + LEGEND_LINE);
            }
            let middle = y + LEGEND_LINE / 2.0;
            self.stroke(line((x, middle), (x + SAMPLE, middle)), look.pen);
            if let Some(marker) = look.marker {
                self.mark(marker, (x + SAMPLE / 2.0, middle), look.colour);
            }
            self.text(&series.name, (x + SAMPLE + 8.0, middle + LABEL_SIZE * 0.36), LABEL_SIZE, Anchor::Start, INK);
            x += column;
        }
        if series.is_empty() { top } else { y + LEGEND_LINE }
    }

    fn axes(&mut self, plot: &Plot, across: &str, up: &str) {
        let Plot { left, right, top, bottom, .. } = *plot;
        let grid = Pen::solid(GRID, 1.0);
        let ink = Pen::solid(INK, 1.2);
        for tick in &plot.up.ticks {
            let Some(y) = plot.y(tick.at) else { continue };
            if let Some(label) = &tick.label {
                self.stroke(line((left, y), (right, y)), grid);
                self.text(label, (left - 9.0, y + TICK_SIZE * 0.36), TICK_SIZE, Anchor::End, FAINT_INK);
            }
            let length = if tick.label.is_some() { 5.0 } else { 3.0 };
            self.stroke(line((left - length, y), (left, y)), ink);
        }
        // Labels that would touch the one before are left out.
        let mut free_from = 0.0;
        for tick in &plot.across.ticks {
            let Some(x) = plot.x(tick.at) else { continue };
            if let Some(label) = &tick.label {
                self.stroke(line((x, top), (x, bottom)), grid);
                let half = self.font.width(label, TICK_SIZE) / 2.0;
                if x - half >= free_from {
                    self.text(label, (x, bottom + TICK_SIZE + 8.0), TICK_SIZE, Anchor::Middle, FAINT_INK);
                    free_from = x + half + 6.0;
                }
            }
            let length = if tick.label.is_some() { 5.0 } else { 3.0 };
            self.stroke(line((x, bottom), (x, bottom + length)), ink);
        }
        self.stroke(polyline(&[(left, top), (left, bottom), (right, bottom)]), ink);
        let middle = f32::midpoint(left, right);
        self.text(across, (middle, HEIGHT - MARGIN), LABEL_SIZE, Anchor::Middle, INK);
        let middle = f32::midpoint(top, bottom);
        let label =
            Text { way: Way::Up, ..text(up, (MARGIN + LABEL_SIZE * 0.8, middle), LABEL_SIZE, Anchor::Middle, INK) };
        self.shapes.push(Shape::Text(label));
    }

    fn curve(&mut self, plot: &Plot, series: &Series, look: &Look) {
        let places = series.points.iter().map(|(x, y)| Some((plot.x(*x)?, plot.y(*y)?)));
        let places: Vec<Option<(f32, f32)>> = places.collect();
        // What the axes cannot show interrupts the line.
        for piece in places.split(Option::is_none) {
            let piece: Vec<(f32, f32)> = piece.iter().flatten().copied().collect();
            self.stroke(polyline(&piece), look.pen);
        }
        let Some(marker) = look.marker else { return };
        let shown: Vec<(f32, f32)> = places.into_iter().flatten().collect();
        for place in thinned(&shown, look.nth) {
            self.mark(marker, place, look.colour);
        }
    }

    fn mark(&mut self, marker: Marker, (x, y): (f32, f32), colour: Colour) {
        let r = MARKER_RADIUS;
        let up = r * 1.15;
        let (path, is_hollow) = match marker {
            Marker::Disc => (PathBuilder::from_circle(x, y, r), false),
            Marker::Ring => (PathBuilder::from_circle(x, y, r), true),
            Marker::Square => (square(x, y, r * 0.9), false),
            Marker::Frame => (square(x, y, r * 0.9), true),
            Marker::Triangle => (closed(&[(x - up, y + r * 0.8), (x + up, y + r * 0.8), (x, y - up)]), false),
            Marker::Turned => (closed(&[(x - up, y - r * 0.8), (x + up, y - r * 0.8), (x, y + up)]), true),
            Marker::Diamond => (closed(&[(x - up, y), (x, y - up), (x + up, y), (x, y + up)]), false),
            Marker::Lozenge => (closed(&[(x - up, y), (x, y - up), (x + up, y), (x, y + up)]), true),
        };
        let Some(path) = path else { return };
        self.shapes.push(Shape::Fill(path.clone(), if is_hollow { PAPER } else { colour }));
        self.shapes.push(Shape::Stroke(
            path,
            Pen::solid(if is_hollow { colour } else { PAPER }, if is_hollow { 1.8 } else { 0.8 }),
        ));
    }

    fn stroke(&mut self, path: Option<Path>, pen: Pen) {
        self.shapes.extend(path.map(|path| Shape::Stroke(path, pen)));
    }

    fn text(&mut self, words: &str, at: (f32, f32), size: f32, anchor: Anchor, colour: Colour) {
        self.shapes.push(Shape::Text(text(words, at, size, anchor, colour)));
    }
}

fn text(words: &str, (x, y): (f32, f32), size: f32, anchor: Anchor, colour: Colour) -> Text {
    Text { words: words.to_owned(), x, y, size, anchor, way: Way::Right, colour }
}

/// Places for markers, not too near to each other: all of a curve of few points, some of one of many.
fn thinned(places: &[(f32, f32)], nth: usize) -> Vec<(f32, f32)> {
    let mut chosen: Vec<(f32, f32)> = Vec::new();
    let is_dense = places.windows(2).any(|pair| distance(pair[0], pair[1]) < MARKER_DISTANCE / 2.0);
    // Dense curves that coincide show their markers in turn.
    let skipped = if is_dense { nth.min(places.len() / 2) } else { 0 };
    for place in places.iter().skip(skipped) {
        if chosen.last().is_none_or(|last| !is_dense || distance(*last, *place) >= MARKER_DISTANCE) {
            chosen.push(*place);
        }
    }
    chosen
}

fn distance(a: (f32, f32), b: (f32, f32)) -> f32 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

fn line(from: (f32, f32), to: (f32, f32)) -> Option<Path> {
    polyline(&[from, to])
}

/// `None` for fewer than two points.
fn polyline(points: &[(f32, f32)]) -> Option<Path> {
    let (first, rest) = points.split_first()?;
    if rest.is_empty() {
        return None;
    }
    let mut path = PathBuilder::new();
    path.move_to(first.0, first.1);
    for (x, y) in rest {
        path.line_to(*x, *y);
    }
    path.finish()
}

fn closed(points: &[(f32, f32)]) -> Option<Path> {
    let (first, rest) = points.split_first()?;
    let mut path = PathBuilder::new();
    path.move_to(first.0, first.1);
    for (x, y) in rest {
        path.line_to(*x, *y);
    }
    path.close();
    path.finish()
}

fn square(x: f32, y: f32, half: f32) -> Option<Path> {
    Rect::from_ltrb(x - half, y - half, x + half, y + half).map(PathBuilder::from_rect)
}
