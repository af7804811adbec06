//! The font that travels with the binary, as outlines: a chart looks the same wherever it is drawn or seen.

use std::fmt;

use tiny_skia::{Path, PathBuilder};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

const BYTES: &[u8] = include_bytes!("../../assets/inter-subset.otf");

/// What stands for a character that the font lacks.
const UNKNOWN: char = '?';

/// The font.
pub(super) struct Font {
    face: Face<'static>,
}

/// One glyph of a text, and how far from the text's begin it stands, in units of the font.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) glyph: GlyphId,
    pub(super) x: f32,
}

impl fmt::Debug for Font {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Font").finish_non_exhaustive()
    }
}

impl Font {
    /// Reads the font.
    pub(super) fn new() -> Self {
        Self { face: Face::parse(BYTES, 0).expect("the font was checked when it was put here") }
    }

    /// How many units of the font are as long as the size of a text.
    pub(super) fn units(&self) -> f32 {
        f32::from(self.face.units_per_em())
    }

    /// A text's glyphs from left to right, and its width, in units of the font.
    pub(super) fn set(&self, words: &str) -> (Vec<Placed>, f32) {
        let mut x = 0.0;
        let glyphs = words
            .chars()
            .map(|character| {
                let placed = Placed { glyph: self.glyph(character), x };
                x += f32::from(self.face.glyph_hor_advance(placed.glyph).unwrap_or_default());
                placed
            })
            .collect();
        (glyphs, x)
    }

    /// The width of a text, in pixels.
    pub(super) fn width(&self, words: &str, size: f32) -> f32 {
        self.set(words).1 * size / self.units()
    }

    /// A glyph's outline, in units of the font with y growing upwards; `None` for a blank.
    pub(super) fn outline(&self, glyph: GlyphId) -> Option<Path> {
        let mut pen = OutlinePen(PathBuilder::new());
        self.face.outline_glyph(glyph, &mut pen)?;
        pen.0.finish()
    }

    fn glyph(&self, character: char) -> GlyphId {
        let known = |character| self.face.glyph_index(character);
        known(character).or_else(|| known(UNKNOWN)).unwrap_or_default()
    }
}

struct OutlinePen(PathBuilder);

impl OutlineBuilder for OutlinePen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.0.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.0.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.0.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.0.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_what_titles_and_ticks_are_written_with() {
        let font = Font::new();
        let letters = ('!'..='~').chain("µλσ₀₁₂₃⁰¹²³⁴⁵⁶⁷⁸⁹⁻−–×±≈≤≥√→…".chars());
        for letter in letters.filter(|letter| *letter != UNKNOWN) {
            let glyph = font.glyph(letter);
            assert_ne!(glyph, font.glyph(UNKNOWN), "{letter}");
            assert!(font.outline(glyph).is_some(), "{letter}");
        }
    }

    #[test]
    fn a_text_is_as_wide_as_its_letters_and_strange_ones_are_questions() {
        let font = Font::new();
        assert!((font.width("ab", 10.0) - font.width("a", 10.0) - font.width("b", 10.0)).abs() < 1e-4);
        assert!((font.width("漢", 10.0) - font.width("?", 10.0)).abs() < 1e-6);
    }
}
