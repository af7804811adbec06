//! A picture as SVG. Letters are drawn as shapes, each defined once, so that no font is needed to see them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tiny_skia::{Path, PathSegment};
use ttf_parser::GlyphId;

use super::font::Font;
use super::scene::{Colour, Pen, Scene, Shape, Text, Way};

/// The file's content.
pub(super) fn render(scene: &Scene, font: &Font) -> String {
    let mut glyphs = BTreeMap::new();
    let mut body = String::new();
    for shape in &scene.shapes {
        match shape {
            Shape::Stroke(path, pen) => stroke(&mut body, path, pen),
            Shape::Fill(path, colour) => {
                let _ = writeln!(body, r#"<path d="{}" fill="{}"/>"#, data(path), hex(*colour));
            }
            Shape::Text(text) => write_text(&mut body, text, font, &mut glyphs),
        }
    }
    let (width, height) = (scene.width, scene.height);
    let title = escape(&scene.title);
    let mut file = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<title>{title}</title>
<defs>
"#
    );
    for (glyph, path) in &glyphs {
        let _ = writeln!(file, r#"<path id="g{}" d="{path}"/>"#, glyph.0);
    }
    let _ = write!(file, "</defs>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{body}</svg>\n");
    file
}

fn stroke(body: &mut String, path: &Path, pen: &Pen) {
    let Pen { colour, width, dashes } = pen;
    let dashes: Vec<String> = dashes.iter().map(ToString::to_string).collect();
    let _ = write!(body, r#"<path d="{}" fill="none" stroke="{}" stroke-width="{width}""#, data(path), hex(*colour));
    if !dashes.is_empty() {
        let _ = write!(body, r#" stroke-dasharray="{}""#, dashes.join(" "));
    }
    body.push_str(" stroke-linejoin=\"round\"/>\n");
}

fn write_text(body: &mut String, text: &Text, font: &Font, glyphs: &mut BTreeMap<GlyphId, String>) {
    let scale = text.size / font.units();
    let (placed, width) = font.set(&text.words);
    let turn = match text.way {
        Way::Right => "",
        Way::Up => " rotate(-90)",
    };
    let _ = write!(
        body,
        r#"<g aria-label="{}" fill="{}" transform="translate({:.2} {:.2}){turn} translate({:.2} 0) scale({scale:.5} -{scale:.5})">"#,
        escape(&text.words),
        hex(text.colour),
        text.x,
        text.y,
        text.offset(width * scale),
    );
    for glyph in placed {
        if let Some(outline) = font.outline(glyph.glyph) {
            glyphs.entry(glyph.glyph).or_insert_with(|| data(&outline));
            let _ = write!(body, r##"<use href="#g{}" x="{}"/>"##, glyph.glyph.0, glyph.x);
        }
    }
    body.push_str("</g>\n");
}

fn data(path: &Path) -> String {
    let mut data = String::new();
    for segment in path.segments() {
        let (letter, points) = match segment {
            PathSegment::MoveTo(to) => ('M', vec![to]),
            PathSegment::LineTo(to) => ('L', vec![to]),
            PathSegment::QuadTo(by, to) => ('Q', vec![by, to]),
            PathSegment::CubicTo(by, then, to) => ('C', vec![by, then, to]),
            PathSegment::Close => ('Z', Vec::new()),
        };
        data.push(letter);
        let points: Vec<String> = points.iter().map(|point| format!("{} {}", short(point.x), short(point.y))).collect();
        data.push_str(&points.join(" "));
    }
    data
}

/// Hundredths of a pixel, without needless zeros.
fn short(length: f32) -> String {
    let text = format!("{length:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn hex(Colour(red, green, blue): Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn escape(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    // XML knows no control characters, not even escaped.
    escaped.replace(char::is_control, "?")
}
