//! The sheets of what drives units, and of where they look.

use image::RgbImage;

use super::Given;
use crate::{
    cli::{
        args::Args,
        view::{
            Row, Shown,
            asked::Asked,
            look::{Look, bar, short},
        },
    },
    error::Result,
    report::{
        attribution::{Map, MaximizeOptions, Maximum, OcclusionOptions, Unit},
        channels::{figures, position, shrunk, zoom},
        gallery::{Gallery, Panel},
        heatmap::Picture,
        photo::{self, Undo},
    },
};

/// The sheet of what drives units.
pub(super) fn climbed(
    asked: &Asked,
    look: &Look,
    found: Vec<Maximum>,
    size: [usize; 3],
    options: &MaximizeOptions,
) -> Result<Shown> {
    let mut panels = Vec::new();
    let mut rows = Vec::new();
    let zoom = zoom(size[1], size[2], found.len());
    for maximum in &found {
        // Zero is grey, and what few values exceed is cut: the picture shows where it differs from nothing.
        let mut sizes: Vec<f32> = maximum.input.iter().map(|v| v.abs()).collect();
        sizes.sort_unstable_by(f32::total_cmp);
        let most = sizes.get(sizes.len() * 99 / 100).copied().unwrap_or(1.0);
        let undo = Undo {
            scale: most.max(f32::MIN_POSITIVE) / 127.0,
            mean: vec![128.0],
        };
        let image = match maximum.dead {
            true => photo::photo(&vec![0.0; maximum.input.len()], size, Some(&undo))?,
            false => photo::photo(&maximum.input, size, Some(&undo))?,
        };
        let image = Picture::new(size[2], size[1], image.as_raw())?.plain(zoom)?;
        let note = match maximum.dead {
            true => "dead: nothing moves it".to_owned(),
            false => format!("{} to {}", short(maximum.before), short(maximum.after)),
        };
        let name = look.name("channel", maximum.unit.channel);
        panels.push(Panel::new(name.clone(), shrunk(image, found.len())).note(note));
        rows.push(Row {
            name,
            index: maximum.unit.channel,
            figures: figures(&maximum.input),
            more: vec![("before", maximum.before), ("after", maximum.after)],
        });
    }
    Ok(Shown {
        gallery: Gallery {
            title: format!("What drives {}", asked.label()),
            subtitle: format!(
                "{} steps, seed {}; under each its value before and after",
                options.steps, options.seed
            ),
            panels,
            ..Gallery::default()
        },
        what: asked.label(),
        rows,
    })
}

/// The sheet of maps over the input.
pub(super) fn mapped(
    args: &Args,
    mode: &str,
    asked: &Asked,
    look: &Look,
    units: &[Unit],
    maps: &[Map],
    given: &Given,
) -> Result<Shown> {
    let all: Vec<_> = maps.iter().map(|map| figures(&map.values)).collect();
    let ranges: Vec<(f32, f32)> = look
        .ranges(&all)
        .into_iter()
        .map(|(low, high)| (low.min(0.0), high))
        .collect();
    let mut panels = Vec::new();
    let mut rows = Vec::new();
    let zoom = |rows, columns| zoom(rows, columns, units.len() + 1);
    let size = |photo: &RgbImage| (photo.height() as usize, photo.width() as usize);
    if let Some(photo) = &given.photo {
        let (height, width) = size(photo);
        let image = Picture::new(width, height, photo.as_raw())?.plain(zoom(height, width))?;
        panels.push(Panel::new(
            given.input.clone(),
            shrunk(image, units.len() + 1),
        ));
    }
    for (((unit, map), f), &range) in units.iter().zip(maps).zip(&all).zip(&ranges) {
        let Some(photo) = &given.photo else {
            continue;
        };
        let (height, width) = size(photo);
        let values: Vec<f32> = map.values.iter().map(|&v| position(v, range)).collect();
        let picture = Picture::new(width, height, photo.as_raw())?;
        let extent = (map.rows, map.columns);
        let image = picture.map(&values, extent, zoom(height, width), look.palette)?;
        let note = match (mode, f.low == 0.0 && f.high == 0.0) {
            (_, true) => "nothing changes it".to_owned(),
            ("gradient", _) => format!("up to {}", short(f.high)),
            _ => format!("falls by {} to {}", short(range.0), short(f.high)),
        };
        let name = look.name("channel", unit.channel);
        panels.push(Panel::new(name.clone(), shrunk(image, units.len() + 1)).note(note));
        rows.push(Row {
            name,
            index: unit.channel,
            figures: *f,
            more: vec![("output", map.output)],
        });
    }
    let sized = (maps.first()).map_or((0, 0), |map| (map.rows, map.columns));
    let smooth: usize = args.number("smooth")?.unwrap_or(0);
    let (title, subtitle, label_of_bar) = if mode == "gradient" {
        let how = match smooth {
            0 => "largest gradient over the channels of each pixel".to_owned(),
            n => format!("largest gradient over the channels, mean of {n} noisy copies"),
        };
        (
            format!("What changes {}", asked.label()),
            how,
            "change by pixel",
        )
    } else {
        let options = OcclusionOptions {
            patch: args.number("patch")?.unwrap_or(0),
            stride: args.number("stride")?.unwrap_or(0),
            fill: None,
        };
        let (patch, stride) = options.settle(sized.0, sized.1);
        let how = format!("patches of {patch}x{patch} pixels, {stride} apart");
        (
            format!("What {} needs to see", asked.label()),
            how,
            "fall where covered",
        )
    };
    let bar = match look.shared || units.len() == 1 {
        true => bar(
            look.palette,
            ranges.first().copied().unwrap_or((0.0, 0.0)),
            label_of_bar,
        ),
        false => look.bar(&all),
    };
    Ok(Shown {
        gallery: Gallery {
            title,
            subtitle: format!("{subtitle}; {}", asked.extent()),
            panels,
            bar: Some(bar),
            ..Gallery::default()
        },
        what: asked.label(),
        rows,
    })
}
