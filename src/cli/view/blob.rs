//! `view --blob`: channels of a blob, and maps of classes.

use std::path::Path;

use image::RgbImage;

use super::{
    Row, Shown,
    classes::{Classes, agreement, answer, classes_of, legend, read_classes},
    look::{self, Look},
    source,
};
use crate::{
    cli::{args::Args, ui::Ui},
    error::Result,
    report::{
        channels::{Planes, figures, picture, planes, position, shrunk, zoom},
        gallery::{Gallery, Panel},
        heatmap::Picture,
        palette::{self, Palette},
    },
};

pub(super) fn show(args: &Args, ui: &mut Ui) -> Result<Shown> {
    let blob = args.text("blob").unwrap_or_default();
    let over = args.text("over");
    let truth = args.text("truth");
    let index = args.number::<usize>("sample")?.unwrap_or(0);
    let look = Look::new(args, Palette::Heat)?;
    let names = source::blob_names(args)?;
    let truth_is_blob = truth.as_ref().is_some_and(|t| names.contains(t));
    let mut needed = vec![blob.clone()];
    needed.extend(over.clone());
    needed.extend(truth.clone().filter(|_| truth_is_blob));
    if let Some(unknown) = needed.iter().find(|name| !names.contains(name)) {
        return Err(source::no_blob(unknown, &names));
    }
    let mut loaded = source::forward_net(args, &needed, ui)?;
    source::advance(args, &mut loaded, ui)?;
    let net = &loaded.net;

    let photo = match &over {
        Some(over) => Some(source::photo(args, net, over, index)?),
        None => None,
    };
    let truth = match truth {
        Some(name) if truth_is_blob => Some(classes_of(net, &name, index)?),
        Some(file) => Some(read_classes(Path::new(&file), &names)?),
        None => None,
    };
    let view = net
        .blob(&blob)
        .ok_or_else(|| source::no_blob(&blob, &names))?;
    let shape = view.shape.to_string();
    let planes = planes(view.shape, index)?;
    let (values, _) = source::sample(net, &blob, index)?;
    let wanted = look.channels(planes.channels)?;
    let paper = Paper {
        photo: photo.as_ref(),
        count: if args.switch("classes") {
            3
        } else {
            wanted.len()
        },
    };
    let mut panels = Vec::new();
    if let (Some(over), Some(photo)) = (&over, &photo) {
        panels.push(Panel::new(over.clone(), paper.plain(photo)?));
    }
    let mut seen: Vec<usize> = Vec::new();
    if let Some(truth) = &truth {
        seen.extend(&truth.map);
        panels.push(Panel::new("truth", paper.classes(truth)?));
    }
    let mut gallery = Gallery {
        title: format!("{blob} {shape}"),
        subtitle: format!("{}sample {index}", batch(args)?),
        ..Gallery::default()
    };
    let plane = values.len() / planes.channels;
    let all: Vec<_> = wanted
        .iter()
        .map(|&c| figures(&values[c * plane..][..plane]))
        .collect();
    if args.switch("classes") {
        let answer = answer(values, planes)?;
        seen.extend(&answer.map);
        let note = truth
            .as_ref()
            .map_or_else(String::new, |t| agreement(t, &answer));
        panels.push(Panel::new("answer", paper.classes(&answer)?).note(note));
        if let Some(image) = truth
            .as_ref()
            .map(|t| paper.wrong(t, &answer))
            .transpose()?
        {
            panels.extend(image.map(|image| Panel::new("wrong in red", image)));
        }
    } else {
        for ((&c, f), range) in wanted.iter().zip(&all).zip(look.ranges(&all)) {
            let values = &values[c * plane..][..plane];
            let image = paper.map(values, planes, range, look.palette)?;
            let name = match planes.list {
                true => "every channel, row by row".to_owned(),
                false => look.name("channel", c),
            };
            panels.push(Panel::new(name, image).note(look::note(f)));
        }
        gallery.bar = Some(look.bar(&all));
    }
    gallery.legend = legend(seen, &look);
    gallery.panels = panels;
    let rows = wanted.iter().zip(all).map(|(&index, figures)| Row {
        name: match planes.list {
            true => "all".to_owned(),
            false => look.name("channel", index),
        },
        index,
        figures,
        more: Vec::new(),
    });
    Ok(Shown {
        rows: rows.collect(),
        gallery,
        what: blob,
    })
}

fn batch(args: &Args) -> Result<String> {
    let batch = args.number::<usize>("batch")?.unwrap_or(0);
    Ok(match batch {
        0 => String::new(),
        n => format!("batch {n}, "),
    })
}

/// What maps are laid on: a picture, or nothing.
struct Paper<'a> {
    photo: Option<&'a RgbImage>,
    /// How many stand on the sheet.
    count: usize,
}

impl Paper<'_> {
    fn plain(&self, photo: &RgbImage) -> Result<RgbImage> {
        let (picture, zoom) = self.over(photo)?;
        Ok(shrunk(picture.plain(zoom)?, self.count))
    }

    fn map(
        &self,
        values: &[f32],
        planes: Planes,
        range: (f32, f32),
        palette: Palette,
    ) -> Result<RgbImage> {
        let size = (planes.rows, planes.columns);
        let image = match self.photo {
            Some(photo) if !planes.list => {
                let values: Vec<f32> = values.iter().map(|&v| position(v, range)).collect();
                let (picture, zoom) = self.over(photo)?;
                picture.map(&values, size, zoom, palette)?
            }
            _ => picture(
                values,
                size,
                range,
                palette,
                zoom(planes.rows, planes.columns, self.count),
            )?,
        };
        Ok(shrunk(image, self.count))
    }

    fn classes(&self, classes: &Classes) -> Result<RgbImage> {
        let size = (classes.rows, classes.columns);
        let image = match self.photo {
            Some(photo) => {
                let (picture, zoom) = self.over(photo)?;
                picture.classes(&classes.map, size, zoom)?
            }
            None => self.cells(classes, |i| palette::class(classes.map[i]))?,
        };
        Ok(shrunk(image, self.count))
    }

    /// Where two maps of one size differ.
    fn wrong(&self, truth: &Classes, answer: &Classes) -> Result<Option<RgbImage>> {
        if (truth.rows, truth.columns) != (answer.rows, answer.columns) {
            return Ok(None);
        }
        let wrong: Vec<f32> = truth
            .map
            .iter()
            .zip(&answer.map)
            .map(|(t, a)| f32::from(u8::from(t != a)))
            .collect();
        let image = match self.photo {
            // Class 1 of the palette is red, and class 0 only darkens.
            Some(_) => self.classes(&Classes {
                map: wrong.iter().map(|&w| w as usize).collect(),
                ..*truth
            })?,
            None => self.cells(truth, |i| match wrong[i] {
                0.0 => [60, 64, 70],
                _ => palette::class(1),
            })?,
        };
        Ok(Some(image))
    }

    /// The picture under maps, and how much larger it is shown.
    fn over<'p>(&self, photo: &'p RgbImage) -> Result<(Picture<'p>, u32)> {
        let (width, height) = (photo.width() as usize, photo.height() as usize);
        let picture = Picture::new(width, height, photo.as_raw())?;
        Ok((picture, zoom(height, width, self.count)))
    }

    fn cells(&self, classes: &Classes, color: impl Fn(usize) -> palette::Rgb) -> Result<RgbImage> {
        let zoom = zoom(classes.rows, classes.columns, self.count);
        let blank = vec![0.0; classes.map.len()];
        let size = (classes.rows, classes.columns);
        let mut image = picture(&blank, size, (0.0, 1.0), Palette::Grey, zoom)?;
        for (x, y, pixel) in image.enumerate_pixels_mut() {
            pixel.0 = color((y / zoom) as usize * classes.columns + (x / zoom) as usize);
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_and_answer_side_by_side() {
        let classes = |map: &[usize]| Classes {
            map: map.to_vec(),
            rows: 1,
            columns: map.len(),
        };
        let (a, b) = (classes(&[0, 1, 2, 2]), classes(&[0, 1, 2, 1]));
        assert_eq!(agreement(&a, &b), "75.0 % right");
        assert_eq!(agreement(&a, &classes(&[0])), "1x1, truth 1x4");
        let paper = Paper {
            photo: None,
            count: 3,
        };
        let image = paper.wrong(&a, &b).unwrap().unwrap();
        let zoom = image.width() / 4;
        assert_eq!(image.get_pixel(3 * zoom, 0).0, palette::class(1));
        assert_ne!(image.get_pixel(0, 0).0, palette::class(1));
        assert!(paper.wrong(&a, &classes(&[0])).unwrap().is_none());
    }
}
