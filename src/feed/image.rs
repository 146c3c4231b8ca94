//! Image files as OpenCV hands them to Caffe: 8 bits a channel, blue before green before red. The kinds are JPEG, PNG
//! and BMP, and what OpenCV reads besides: GIF (the first picture), PNM, TIFF and WebP.
//!
//! The orientation that a camera notes in EXIF is left alone, as by the OpenCV 2.4 of Caffe's time, which did not know
//! it; since 3.1 `imread` turns colour images by it. Transparency is dropped and of 16 bits the upper 8 are kept, as
//! OpenCV's colour mode does. JPEG decoders differ by up to 3 per pixel, because each has its own way of enlarging colour.

use std::io::Cursor;

use image::{ColorType, ImageDecoder as _, ImageFormat, ImageReader};

use super::{
    datum::{Color, Pixels, Sample},
    jpeg,
};
use crate::error::{Error, Result};

/// A decoded image.
pub(super) struct Decoded {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) pixels: Vec<u8>,
    /// Red, green, blue of each pixel together; else channel by channel.
    pub(super) together: bool,
}

impl Decoded {
    pub(super) fn into_sample(self, label: i32) -> Sample<'static> {
        Sample {
            channels: self.channels,
            height: self.height,
            width: self.width,
            pixels: match self.together {
                true => Pixels::Rgb(self.pixels),
                false => Pixels::U8(self.pixels.into()),
            },
            label,
        }
    }
}

/// Which format these bytes begin like.
pub(super) fn kind(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\xff\xd8\xff") {
        Some("JPEG")
    } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("PNG")
    } else if bytes.starts_with(b"BM") && bytes.len() > 14 {
        Some("BMP")
    } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        Some("GIF")
    } else if bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*") {
        Some("TIFF")
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some("WebP")
    } else if let [b'P', b'1'..=b'6', b' ' | b'\t' | b'\r' | b'\n', ..] = bytes {
        Some("PNM")
    } else {
        None
    }
}

/// No image of a database is larger than this, in bytes.
const MOST: u64 = 512 << 20;

/// Decodes an image file, into `spare`'s memory where that is large enough.
///
/// # Errors
/// `Unsupported` for other formats, `Data` where the file is damaged.
pub(super) fn decode(bytes: &[u8], color: Color, mut spare: Vec<u8>) -> Result<Decoded> {
    let format = match kind(bytes) {
        Some("JPEG") => ImageFormat::Jpeg,
        Some("PNG") if color == Color::Labels => {
            if let Some(indices) = indices(bytes)? {
                return Ok(indices);
            }
            ImageFormat::Png
        }
        Some("PNG") => ImageFormat::Png,
        Some("GIF") => ImageFormat::Gif,
        Some("TIFF") => ImageFormat::Tiff,
        Some("WebP") => ImageFormat::WebP,
        Some("PNM") => ImageFormat::Pnm,
        Some(_) => ImageFormat::Bmp,
        None if bytes.is_empty() => return Err(Error::data("the file of the image is empty")),
        None => {
            let start = bytes.get(..8).unwrap_or(bytes).escape_ascii();
            return Err(Error::unsupported(format!(
                "the encoded image is neither JPEG, PNG, BMP, GIF, PNM, TIFF nor WebP; it begins with \"{start}\""
            ))
            .help("convert it to PNG"));
        }
    };
    let unreadable = |e| Error::data(format!("the encoded image cannot be read: {e}"));
    let too_large = || Error::data("the encoded image is too large");
    let decoder = ImageReader::with_format(Cursor::new(bytes), format)
        .into_decoder()
        .map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(Error::data("the encoded image has no pixels"));
    }
    let height = usize::try_from(height).map_err(|_| too_large())?;
    let width = usize::try_from(width).map_err(|_| too_large())?;
    let kind = decoder.color_type();
    let size = Some(decoder.total_bytes()).filter(|&n| n <= MOST);
    let size = size.and_then(|n| usize::try_from(n).ok());
    // A decoder may leave the rest of a broken image as it is: not to what was there before.
    spare.clear();
    spare.resize(size.ok_or_else(too_large)?, 0);
    decoder.read_image(&mut spare).map_err(unreadable)?;

    let luma = |r, g, b| match format {
        ImageFormat::Jpeg => gray(r, g, b, true),
        ImageFormat::Png => gray(r, g, b, false),
        _ => own_gray(r, g, b),
    };
    let stride = usize::from(kind.channel_count());
    if color == Color::Labels {
        check_labels(&spare, kind)?;
    }
    let (channels, pixels, together) = match kind {
        ColorType::Rgb8 if !matches!(color, Color::Gray | Color::Labels) => (3, spare, true),
        ColorType::L8 if color != Color::Color => (1, spare, false),
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => {
            let (channels, pixels) = planes(&spare, stride, color, luma);
            (channels, pixels, false)
        }
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            let (pairs, _) = spare.as_chunks::<2>();
            let deep: Vec<u16> = pairs.iter().map(|p| u16::from_ne_bytes(*p)).collect();
            let (channels, pixels) = planes(&deep, stride, color, |r, g, b| gray(r, g, b, true));
            (channels, pixels, false)
        }
        _ => {
            return Err(Error::unsupported(
                "the encoded image has a kind of pixel that is not read",
            ));
        }
    };
    Ok(Decoded {
        channels,
        height,
        width,
        pixels,
        together,
    })
}

/// [`decode`], for an image that is decoded once and kept: a JPEG to the very bytes that OpenCV has of it, which takes
/// longer.
///
/// # Errors
/// As there.
pub(super) fn decode_exactly(bytes: &[u8], color: Color) -> Result<Decoded> {
    let exact = match (kind(bytes), color) {
        (Some("JPEG"), Color::AsStored | Color::Color) => jpeg::decode(bytes, false),
        (Some("JPEG"), Color::Gray) => jpeg::decode(bytes, true),
        _ => None,
    };
    let Some(image) = exact else {
        return decode(bytes, color, Vec::new());
    };
    let gray = image.channels == 1;
    let (channels, pixels) = match gray && color == Color::Color {
        true => (3, image.pixels.repeat(3)),
        false => (image.channels, image.pixels),
    };
    Ok(Decoded {
        channels,
        height: image.height,
        width: image.width,
        pixels,
        together: !gray,
    })
}

/// The numbers of the colours in a PNG with a palette, `None` for one without. Annotation tools write label maps so;
/// OpenCV would give the brightness of those colours.
fn indices(bytes: &[u8]) -> Result<Option<Decoded>> {
    let unreadable =
        |e: png::DecodingError| Error::data(format!("the encoded image cannot be read: {e}"));
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(unreadable)?;
    let info = reader.info();
    if info.color_type != png::ColorType::Indexed {
        return Ok(None);
    }
    let too_large = || Error::data("the encoded image is too large");
    let side = |n: u32| usize::try_from(n).map_err(|_| too_large());
    let (height, width) = (side(info.height)?, side(info.width)?);
    let bits = match info.bit_depth {
        png::BitDepth::One => 1,
        png::BitDepth::Two => 2,
        png::BitDepth::Four => 4,
        _ => 8,
    };
    if u64::from(reader.info().height) * u64::from(reader.info().width) > MOST {
        return Err(too_large());
    }
    let size = reader.output_buffer_size().ok_or_else(too_large)?;
    let mut packed = vec![0; size];
    let frame = reader.next_frame(&mut packed).map_err(unreadable)?;
    let rows = packed.chunks_exact(frame.line_size.max(1)).take(height);
    let mask = if bits == 8 { 0xFF } else { (1 << bits) - 1 };
    let pixels: Vec<u8> = rows
        .flat_map(|row| {
            (0..width).map(move |x| {
                let at = x * bits;
                let byte = row.get(at / 8).copied().unwrap_or(0);
                (byte >> (8 - bits - at % 8)) & mask
            })
        })
        .collect();
    Ok(Some(Decoded {
        channels: 1,
        height,
        width,
        pixels,
        together: false,
    }))
}

/// Labels are gray, and of 16 bits the lower 8 would be lost.
fn check_labels(pixels: &[u8], kind: ColorType) -> Result<()> {
    let stride = usize::from(kind.channel_count());
    let colored = stride >= 3
        && kind.bytes_per_pixel() == kind.channel_count()
        && pixels
            .chunks_exact(stride)
            .any(|p| p[0] != p[1] || p[1] != p[2]);
    if colored || kind.bytes_per_pixel() != kind.channel_count() {
        return Err(Error::data(match colored {
            true => "the label map has colours; it needs one number a pixel",
            false => "the label map has 16 bits a pixel; labels go from 0 to 255",
        })
        .help(
            "write it as a gray PNG of 8 bits, or with a palette, whose numbers are the labels",
        ));
    }
    Ok(())
}

/// A sample as it lies in memory: 8 or 16 bits.
trait Depth: Copy + Into<u32> {
    /// The upper 8 bits.
    fn upper(value: u32) -> u8;
}

impl Depth for u8 {
    fn upper(value: u32) -> u8 {
        u8::try_from(value).unwrap_or(u8::MAX)
    }
}

impl Depth for u16 {
    fn upper(value: u32) -> u8 {
        u8::try_from(value >> 8).unwrap_or(u8::MAX)
    }
}

/// Number of channels, and their planes, of pixels of `stride` samples: gray or red, green, blue, then transparency.
fn planes<T: Depth>(
    pixels: &[T],
    stride: usize,
    color: Color,
    luma: impl Fn(u32, u32, u32) -> u32,
) -> (usize, Vec<u8>) {
    let plane = |c: usize| {
        let samples = pixels.iter().skip(c).step_by(stride);
        samples.map(|&v| T::upper(v.into()))
    };
    match (stride >= 3, color) {
        (true, Color::AsStored | Color::Color) => {
            (3, plane(2).chain(plane(1)).chain(plane(0)).collect())
        }
        (true, Color::Gray | Color::Labels) => {
            let gray = pixels.chunks_exact(stride).map(|pixel| match pixel {
                &[r, g, b, ..] => T::upper(luma(r.into(), g.into(), b.into())),
                _ => 0,
            });
            (1, gray.collect())
        }
        (false, Color::Color) => (3, plane(0).chain(plane(0)).chain(plane(0)).collect()),
        (false, Color::AsStored | Color::Gray | Color::Labels) => (1, plane(0).collect()),
    }
}

/// 0.299 R + 0.587 G + 0.114 B. OpenCV takes a JPEG's own luminance, which is rounded, and leaves a PNG to libpng:
/// the weights of 15 bits are libpng's, which cuts off at 8 bits and rounds at 16.
fn gray(r: u32, g: u32, b: u32, rounded: bool) -> u32 {
    let half = if rounded { 1 << 14 } else { 0 };
    // The weights add up to 1 << 15, so the sum of samples of 16 bits stays below 1 << 32.
    (9797 * r + 19234 * g + 3737 * b + half) >> 15
}

/// OpenCV's own weights, for what it decodes without another library's help with colour.
fn own_gray(r: u32, g: u32, b: u32) -> u32 {
    (4899 * r + 9617 * g + 1868 * b + (1 << 13)) >> 14
}

#[cfg(test)]
mod tests {
    use image::{ExtendedColorType as Kind, ImageEncoder as _, codecs};
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn png(pixels: &[u8], width: u32, height: u32, kind: Kind) -> Vec<u8> {
        let mut bytes = Vec::new();
        codecs::png::PngEncoder::new(&mut bytes)
            .write_image(pixels, width, height, kind)
            .unwrap();
        bytes
    }

    fn pixels(bytes: &[u8], color: Color) -> (usize, Vec<u8>) {
        let decoded = decode(bytes, color, vec![1; 5]).unwrap();
        let pixels = match decoded.together {
            false => decoded.pixels,
            true => planes(&decoded.pixels, 3, color, |r, g, b| gray(r, g, b, false)).1,
        };
        (decoded.channels, pixels)
    }

    #[test]
    fn color_comes_blue_first_by_planes() {
        // Two pixels, one above the other.
        let bytes = png(&[10, 20, 30, 40, 50, 60], 1, 2, Kind::Rgb8);
        let decoded = decode(&bytes, Color::AsStored, Vec::new()).unwrap();
        assert_eq!((decoded.height, decoded.width), (2, 1));
        assert!(decoded.together);
        assert_eq!(decoded.pixels, [10, 20, 30, 40, 50, 60]);
        assert_eq!(pixels(&bytes, Color::Color).1, [30, 60, 20, 50, 10, 40]);
        // 0.299 * 10 + 0.587 * 20 + 0.114 * 30 = 18.15; then 48.15
        assert_eq!(pixels(&bytes, Color::Gray), (1, vec![18, 48]));
    }

    #[test]
    fn gray_stays_one_channel_unless_forced() {
        let bytes = png(&[7, 9], 2, 1, Kind::L8);
        assert_eq!(pixels(&bytes, Color::AsStored), (1, vec![7, 9]));
        assert_eq!(pixels(&bytes, Color::Gray), (1, vec![7, 9]));
        assert_eq!(pixels(&bytes, Color::Color), (3, vec![7, 9, 7, 9, 7, 9]));
    }

    #[test]
    fn alpha_is_dropped_and_16_bits_become_8() {
        let bytes = png(&[1, 2, 3, 0], 1, 1, Kind::Rgba8);
        assert_eq!(pixels(&bytes, Color::AsStored), (3, vec![3, 2, 1]));
        let bytes = png(&[5, 0], 1, 1, Kind::La8);
        assert_eq!(pixels(&bytes, Color::AsStored), (1, vec![5]));
        let deep = [0x12FFu16, 0x0100, 0xFF80].map(u16::to_ne_bytes).concat();
        let bytes = png(&deep, 1, 1, Kind::Rgb16);
        assert_eq!(pixels(&bytes, Color::Color), (3, vec![0xFF, 0x01, 0x12]));
    }

    #[test]
    fn extremes_of_gray() {
        for rounded in [false, true] {
            assert_eq!(gray(255, 255, 255, rounded), 255);
            assert_eq!(gray(65535, 65535, 65535, rounded), 65535);
            assert_eq!(gray(0, 0, 0, rounded), 0);
        }
        let each = |rounded| {
            [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
                .map(|(r, g, b)| gray(255 * r, 255 * g, 255 * b, rounded))
        };
        assert_eq!(each(false), [76, 149, 29]);
        assert_eq!(each(true), [76, 150, 29]);
    }

    #[test]
    fn gray_of_a_png_is_what_opencv_makes_of_it() {
        // Red, green, blue, and what OpenCV's imdecode gives in gray.
        for (rgb, expected) in [
            ([38, 13, 193], 41),
            ([201, 35, 159], 98),
            ([222, 183, 128], 188),
        ] {
            let bytes = png(&rgb, 1, 1, Kind::Rgb8);
            assert_eq!(pixels(&bytes, Color::Gray).1, [expected]);
        }
    }

    #[test]
    fn a_jpeg_is_near_what_went_in() {
        let flat = [200u8, 100, 50].repeat(64);
        let mut bytes = Vec::new();
        codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 100)
            .write_image(&flat, 8, 8, Kind::Rgb8)
            .unwrap();
        let (_, pixels) = pixels(&bytes, Color::AsStored);
        let planes = pixels.chunks(64).zip([50u8, 100, 200]);
        for (plane, value) in planes {
            assert!(plane.iter().all(|p| p.abs_diff(value) <= 3), "{plane:?}");
        }
    }

    #[test]
    fn damage_and_other_formats_are_refused() {
        let bytes = png(&[0; 300], 10, 10, Kind::Rgb8);
        let error = decode(&bytes[..40], Color::AsStored, Vec::new())
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Data);
        let error = decode(b"FLIF0123", Color::AsStored, Vec::new())
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("FLIF0123"), "{error}");
    }

    /// JPEGs of all kinds, PNGs of all depths, BMPs: as OpenCV 4.12 reads them (fixtures/reference/make/feed.py).
    #[test]
    fn files_are_read_as_opencv_reads_them() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/feed");
        let record = crate::model_io::npz::read_npz(&folder.join("decoded.npz")).unwrap();
        let mut failures = Vec::new();
        for (key, want) in &record {
            let (mode, name) = key.split_once('/').unwrap();
            let color = match mode {
                "color" => Color::Color,
                "gray" => Color::Gray,
                _ => Color::Labels,
            };
            let bytes = std::fs::read(folder.join("images").join(name)).unwrap();
            let decoded = decode(&bytes, color, Vec::new()).unwrap();
            let (height, width) = (want.shape.dims()[0], want.shape.dims()[1]);
            assert_eq!([decoded.height, decoded.width], [height, width], "{key}");
            let sample = decoded.into_sample(0);
            let planes = sample.floats();
            let far = (0..planes.len())
                .map(|i| {
                    let (c, at) = (i / (height * width), i % (height * width));
                    // The record has red, green, blue together.
                    let want = want.data[at * sample.channels + sample.channels - 1 - c];
                    (planes[i] - want).abs()
                })
                .fold(0.0, f32::max);
            let most = match name {
                "subsampled.jpg" => 4.0,
                name if name.ends_with(".jpg") => 3.0,
                _ => 0.0,
            };
            if far > most {
                failures.push(format!("{key}: by {far}"));
            }
        }
        assert!(record.len() > 30);
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    #[test]
    fn label_maps_have_no_colors() {
        let gray = png(&[3, 3, 3, 7, 7, 7], 2, 1, Kind::Rgb8);
        let labels = decode(&gray, Color::Labels, Vec::new()).unwrap();
        assert_eq!((labels.channels, labels.pixels), (1, vec![3, 7]));
        for (bytes, part) in [
            (png(&[1, 2, 3], 1, 1, Kind::Rgb8), "has colours"),
            (png(&[1, 2], 1, 1, Kind::L16), "16 bits"),
        ] {
            let error = decode(&bytes, Color::Labels, Vec::new()).err().unwrap();
            assert!(error.message().contains(part), "{error}");
        }
    }

    proptest! {
        #[test]
        fn damaged_images_are_decoded_or_refused(at in 0usize..900, value: u8, cut in 0usize..900, as_jpeg: bool) {
            let noise: Vec<u8> = (0..192u8).map(|i| i.wrapping_mul(37)).collect();
            let mut bytes = Vec::new();
            if as_jpeg {
                codecs::jpeg::JpegEncoder::new(&mut bytes).write_image(&noise, 8, 8, Kind::Rgb8).unwrap();
            } else {
                bytes = png(&noise, 8, 8, Kind::Rgb8);
            }
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut / 8));
            let _ = decode(&bytes, Color::Color, Vec::new());
            let _ = decode(&bytes, Color::Labels, Vec::new());
        }
    }
}
