//! A picture as PNG.

use tiny_skia::{Color, FillRule, LineJoin, Paint, Pixmap, Stroke, StrokeDash, Transform};

use super::font::Font;
use super::scene::{Colour, Pen, Scene, Shape, Text, Way};

/// Pixels of the file for one of the sheet: sharp on screens of high resolution and in print.
const DENSITY: f32 = 2.0;

/// The file's content.
pub(super) fn render(scene: &Scene, font: &Font) -> Vec<u8> {
    let mut sheet = Pixmap::new(pixels(scene.width), pixels(scene.height)).expect("a sheet has a size");
    sheet.fill(Color::WHITE);
    let scale = Transform::from_scale(DENSITY, DENSITY);
    for shape in &scene.shapes {
        match shape {
            Shape::Stroke(path, pen) => sheet.stroke_path(path, &paint(pen.colour), &stroke(pen), scale, None),
            Shape::Fill(path, colour) => sheet.fill_path(path, &paint(*colour), FillRule::Winding, scale, None),
            Shape::Text(text) => write_text(&mut sheet, text, font, scale),
        }
    }
    sheet.encode_png().expect("memory takes what is written")
}

fn write_text(sheet: &mut Pixmap, text: &Text, font: &Font, scale: Transform) {
    let size = text.size / font.units();
    let (placed, width) = font.set(&text.words);
    let turn = match text.way {
        Way::Right => 0.0,
        Way::Up => -90.0,
    };
    let begin = scale.pre_translate(text.x, text.y).pre_rotate(turn).pre_translate(text.offset(width * size), 0.0);
    for glyph in placed {
        if let Some(outline) = font.outline(glyph.glyph) {
            let place = begin.pre_translate(glyph.x * size, 0.0).pre_scale(size, -size);
            sheet.fill_path(&outline, &paint(text.colour), FillRule::Winding, place, None);
        }
    }
}

fn paint(Colour(red, green, blue): Colour) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color_rgba8(red, green, blue, 255);
    paint
}

fn stroke(pen: &Pen) -> Stroke {
    Stroke {
        width: pen.width,
        line_join: LineJoin::Round,
        dash: StrokeDash::new(pen.dashes.to_vec(), 0.0),
        ..Stroke::default()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sheet is some hundred pixels wide")]
fn pixels(length: f32) -> u32 {
    (length * DENSITY).ceil() as u32
}
