//! A sheet of a few training samples with their labels laid over, as PNG.

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::{super::wiring::Feed, survey::open};
use crate::{
    error::Result,
    feed::datum::{self, Color, Pixels, Sample},
    model_io::write_file,
    report::{
        self,
        heatmap::{Picture, Sheet},
    },
};

/// Samples that are shown.
const SHOWN: u64 = 6;
/// About so many pixels wide a picture becomes, where it is smaller.
const WIDTH: usize = 192;
/// Wider pictures are not shown.
const MOST: usize = 1200;

/// Draws samples of the layer `images` with the labels of `labels`, which may be the same layer; `None` where they are no
/// pictures in a database.
///
/// # Errors
/// Where a record does not read, or the file cannot be written.
pub(super) fn write(
    dir: &Path,
    root: &Path,
    images: &Feed,
    labels: Option<&Feed>,
) -> Result<Option<PathBuf>> {
    let Some(param) = &images.param.data_param else {
        return Ok(None);
    };
    let (mut source, total) = open(root, param)?;
    let maps = labels.filter(|feed| feed.param.top.len() == 1);
    let mut maps = match maps.and_then(|feed| feed.param.data_param.as_ref()) {
        Some(param) => Some(open(root, param)?.0),
        None => None,
    };
    let own = images.labels.is_some();
    let count = total.unwrap_or(SHOWN).min(SHOWN);
    let mut rows = Vec::new();
    for i in 0..count {
        let number = i * total.unwrap_or(count) / count.max(1);
        source.seek(number)?;
        let mut row = None;
        source.read(1, &mut |records| {
            for record in records {
                let sample = datum::decode(record.value, Color::AsStored)?;
                let key = record.key.escape_ascii().to_string();
                row = rgb(&sample).map(|rgb| (key, rgb, sample.dims(), sample.label));
            }
            Ok(())
        })?;
        let Some((key, rgb, [_, height, width], label)) = row else {
            return Ok(None);
        };
        if width > MOST || height > MOST {
            return Ok(None);
        }
        let zoom = u32::try_from((WIDTH / width.max(1)).clamp(1, 16)).unwrap_or(1);
        let picture = Picture::new(width, height, &rgb)?;
        let mut pictures: Vec<RgbImage> = vec![picture.plain(zoom)?];
        let mut caption = key;
        if own {
            caption = format!("{caption}: {label}");
        }
        if let Some(maps) = &mut maps {
            maps.seek(number)?;
            let mut over = None;
            maps.read(1, &mut |records| {
                for record in records {
                    let map = datum::decode(record.value, Color::Labels)?;
                    over = Some(classes(&map));
                }
                Ok(())
            })?;
            if let Some((classes, size)) = over {
                pictures.push(picture.classes(&classes, size, zoom)?);
            }
        }
        rows.push((caption, pictures));
    }
    let columns = match maps {
        Some(_) => vec!["picture".to_owned(), "labels".to_owned()],
        None => Vec::new(),
    };
    let sheet = Sheet {
        title: format!("Samples of {}", param.source()),
        columns,
        rows,
    };
    let path = dir.join("samples.png");
    write_file(&path, &report::png(&sheet.render_plain())?)?;
    Ok(Some(path))
}

fn classes(map: &Sample<'_>) -> (Vec<usize>, (usize, usize)) {
    let plane = map.height * map.width;
    let values = map.floats().into_iter().take(plane);
    let classes = values
        .map(|v| if v > 0.0 { v as usize } else { 0 })
        .collect();
    (classes, (map.height, map.width))
}

/// A sample as rows of red, green, blue: one channel as grey, three in the order of a database, which is blue, green, red.
fn rgb(sample: &Sample<'_>) -> Option<Vec<u8>> {
    if let Pixels::Rgb(bytes) = &sample.pixels {
        return Some(bytes.clone());
    }
    let values = sample.floats();
    let plane = sample.height.checked_mul(sample.width)?;
    let (low, high) = match sample.pixels {
        Pixels::F32(_) => {
            let finite = || values.iter().copied().filter(|v| v.is_finite());
            let low = finite().fold(f32::INFINITY, f32::min);
            (low, finite().fold(f32::NEG_INFINITY, f32::max))
        }
        _ => (0.0, 255.0),
    };
    let byte = |v: f32| ((v - low) / (high - low).max(1e-9) * 255.0).clamp(0.0, 255.0) as u8;
    let channel = |c: usize, i: usize| values.get(c * plane + i).map(|&v| byte(v));
    let order = if sample.channels >= 3 {
        [2, 1, 0]
    } else {
        [0; 3]
    };
    let mut bytes = Vec::with_capacity(plane.checked_mul(3)?);
    for i in 0..plane {
        for c in order {
            bytes.push(channel(c, i)?);
        }
    }
    Some(bytes)
}
