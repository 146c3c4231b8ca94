//! What every SVG needs: text made safe, colours, embedded pictures.

use base64::Engine as _;
use image::RgbImage;

use super::palette::Rgb;
use crate::error::Result;

/// Text as XML holds it; what XML cannot hold becomes a question mark.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\u{fffe}' | '\u{ffff}' => safe.push('?'),
            c if c.is_control() && !matches!(c, '\n' | '\t') => safe.push('?'),
            c => safe.push(c),
        }
    }
    safe
}

/// `#rrggbb`.
pub(super) fn hex([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// A picture as a `data:` address.
pub(super) fn png_url(image: &RgbImage) -> Result<String> {
    let bytes = super::png(image)?;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    Ok(format!("data:image/png;base64,{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_safe() {
        assert_eq!(
            escape("a<b> & \"c\"\u{0}\u{1b}"),
            "a&lt;b&gt; &amp; &quot;c&quot;??"
        );
        assert_eq!(hex([0, 171, 255]), "#00abff");
    }

    #[test]
    fn a_picture_survives_its_address() {
        let image = RgbImage::from_pixel(3, 2, image::Rgb([1, 2, 3]));
        let url = png_url(&image).unwrap();
        let text = url.strip_prefix("data:image/png;base64,").unwrap();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap();
        assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgb8(), image);
    }
}
