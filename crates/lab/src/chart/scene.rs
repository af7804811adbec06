//! A picture as shapes on a sheet: what the layout decides, and what SVG and PNG both are made of.

use tiny_skia::Path;

/// A sheet with shapes, later ones above earlier ones. Lengths are in pixels of the sheet, y grows downwards.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) width: f32,
    pub(super) height: f32,
    pub(super) title: String,
    pub(super) shapes: Vec<Shape>,
}

/// One thing on the sheet.
#[derive(Debug)]
pub(super) enum Shape {
    /// Along a path.
    Stroke(Path, Pen),
    /// Within a path.
    Fill(Path, Colour),
    /// Words.
    Text(Text),
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pen {
    pub(super) colour: Colour,
    pub(super) width: f32,
    /// Lengths of strokes and gaps in turn, an even number of them; empty for a line without gaps.
    pub(super) dashes: &'static [f32],
}

/// Words on the sheet, on one line.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) words: String,
    /// On the base line, where `anchor` says.
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) size: f32,
    pub(super) anchor: Anchor,
    pub(super) way: Way,
    pub(super) colour: Colour,
}

/// Which point of a text is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Where a text runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    Right,
    Up,
}

/// Red, green, blue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Colour(pub(super) u8, pub(super) u8, pub(super) u8);

impl Pen {
    /// A line without gaps.
    pub(super) const fn solid(colour: Colour, width: f32) -> Self {
        Self { colour, width, dashes: &[] }
    }
}

impl Text {
    /// How far a text of this width begins before its point.
    pub(super) fn offset(&self, width: f32) -> f32 {
        match self.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -width / 2.0,
            Anchor::End => -width,
        }
    }
}
