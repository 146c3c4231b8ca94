//! Records with boxes in them: SSD's `AnnotatedDatum`.

use std::{collections::BTreeSet, path::Path};

use prost::Message as _;

use super::{
    augment::{Moves, Picture},
    datum::{
        Sample, decode_with,
        wire::{Value, field, malformed},
    },
    recipe::{Out, Part, Parts, Recipe, number},
    resolve,
    sampler::{Frame, Samplers},
    source::Record,
    transform::{Transformer, Window},
};
use crate::{
    error::{Error, Result},
    rng::Rng,
    schema::{
        AnnotatedDataParameter, AnnotationGroup, EmitConstraint, LabelMap, TransformationParameter,
    },
    text,
};

/// How annotated records become a batch.
pub struct Annotated {
    transformer: Transformer,
    samplers: Samplers,
    emit: Option<EmitConstraint>,
    /// Whether records have boxes whatever they say of themselves.
    boxes: bool,
    /// The labels that the label map knows.
    labels: Option<(String, BTreeSet<i32>)>,
}

/// A box with what is said of it.
#[derive(Clone, Copy, Debug)]
struct Object {
    group: f32,
    instance: f32,
    difficult: f32,
    frame: Frame,
}

/// A record, decoded and cut.
pub struct LoadedAnnotated<'a> {
    sample: Sample<'a>,
    /// `None` for a record without a type of annotation: its label counts.
    objects: Option<Vec<Object>>,
}

impl Annotated {
    /// Reads the options, and the label map that they name.
    ///
    /// # Errors
    /// As [`Transformer::new`]; `Param` for samplers that make no sense; `Io`, `Syntax` or `Schema` for the label map.
    pub fn new(
        param: &AnnotatedDataParameter,
        transform: &TransformationParameter,
        train: bool,
        root: &Path,
    ) -> Result<Self> {
        let labels = match param.label_map_file() {
            "" => None,
            file => {
                let path = resolve(root, file);
                let map = text::read_file::<LabelMap>("LabelMap", &path, text::Options::default())?;
                let known = map.message.item.iter().map(|item| item.label()).collect();
                Some((file.to_owned(), known))
            }
        };
        Ok(Self {
            transformer: Transformer::new(transform, train, root)?,
            samplers: Samplers::new(&param.batch_sampler)?,
            emit: transform.emit_constraint,
            boxes: param.anno_type.is_some(),
            labels,
        })
    }

    /// The boxes of groups, those that are none left out.
    fn objects(&self, groups: &[&[u8]]) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        for bytes in groups {
            let group = AnnotationGroup::decode(*bytes).map_err(|_| malformed())?;
            if let Some((file, known)) = &self.labels
                && !known.contains(&group.group_label())
            {
                return Err(Error::data(format!(
                    "the class {} is not in the label map '{file}'",
                    group.group_label()
                ))
                .help("name the label map that the database was made with"));
            }
            for annotation in &group.annotation {
                let bbox = annotation.bbox.unwrap_or_default();
                let frame = Frame {
                    xmin: bbox.xmin(),
                    ymin: bbox.ymin(),
                    xmax: bbox.xmax(),
                    ymax: bbox.ymax(),
                };
                let sides = [frame.xmin, frame.ymin, frame.xmax, frame.ymax];
                if !sides.iter().all(|v| v.is_finite()) {
                    return Err(Error::data(
                        "a box of the record has a side that is no number",
                    ));
                }
                objects.push(Object {
                    group: number(group.group_label()),
                    instance: number(annotation.instance_id()),
                    difficult: f32::from(u8::from(bbox.difficult())),
                    frame,
                });
            }
        }
        Ok(objects)
    }

    /// What is left of boxes in a part of the image.
    fn inside(&self, objects: &[Object], window: Frame) -> Vec<Object> {
        let counts = |frame: Frame| self.emit.is_none_or(|emit| frame.meets(window, &emit));
        objects
            .iter()
            .filter(|object| counts(object.frame))
            .filter_map(|object| {
                let frame = object.frame.seen_from(window)?;
                Some(Object { frame, ..*object })
            })
            .collect()
    }

    /// The effects, the cut-out and the new size.
    fn augment(
        &self,
        sample: Sample<'_>,
        objects: &mut Option<Vec<Object>>,
        rng: &mut Rng,
    ) -> Result<Sample<'static>> {
        let effects = self.transformer.effects();
        let (picture, label) = Picture::from_sample(sample)?;
        let (mut picture, moves) = effects.before_cut(picture, rng)?;
        if let Some(objects) = objects {
            follow(&moves, objects);
        }
        let frames: Vec<Frame> = objects.iter().flatten().map(|o| o.frame).collect();
        if let Some(cut) = self.samplers.draw(&frames, rng) {
            let cut = cut.clipped();
            picture = cut_out(&picture, cut);
            if let Some(objects) = objects {
                *objects = self.inside(objects, cut);
            }
        }
        let (height, width) = (picture.height, picture.width);
        let picture = effects.after_cut(picture, rng)?;
        if let (Some(fit), Some(objects)) = (effects.fit(), objects) {
            for object in objects {
                let [ymin, xmin] = fit.moved(height, width, [object.frame.ymin, object.frame.xmin]);
                let [ymax, xmax] = fit.moved(height, width, [object.frame.ymax, object.frame.xmax]);
                object.frame = Frame {
                    xmin,
                    ymin,
                    xmax,
                    ymax,
                };
            }
        }
        Ok(picture.into_sample(label))
    }
}

/// Moves boxes as the pixels were moved.
fn follow(moves: &Moves, objects: &mut Vec<Object>) {
    if let Some(zoom) = &moves.expand {
        for object in &mut *objects {
            let frame = &mut object.frame;
            for (value, axis) in [
                (&mut frame.ymin, 0),
                (&mut frame.xmin, 1),
                (&mut frame.ymax, 0),
                (&mut frame.xmax, 1),
            ] {
                *value = zoom.start[axis] + *value * zoom.size[axis];
            }
        }
    }
    if let Some(warp) = &moves.warp {
        let seen = objects.iter().flat_map(|object| {
            let f = object.frame;
            let copies = warp.boxes([f.xmin, f.ymin, f.xmax, f.ymax]);
            copies.into_iter().map(|[xmin, ymin, xmax, ymax]| Object {
                frame: Frame {
                    xmin,
                    ymin,
                    xmax,
                    ymax,
                },
                ..*object
            })
        });
        *objects = seen.collect();
    }
}

/// Whole pixels, at least one.
#[allow(
    clippy::as_conversions,
    reason = "fractions of a side that exists, from 0 to 1"
)]
fn cut_out(picture: &Picture, cut: Frame) -> Picture {
    let along = |low: f32, high: f32, side: usize| {
        let (low, high) = (low * side as f32, high * side as f32);
        let start = (low as usize).min(side - 1);
        (start, ((high - low) as usize).clamp(1, side - start))
    };
    let (left, width) = along(cut.xmin, cut.xmax, picture.width);
    let (top, height) = along(cut.ymin, cut.ymax, picture.height);
    picture.cut(top, left, height, width)
}

/// The window in fractions of an image of `[_, height, width]`.
#[allow(clippy::as_conversions, reason = "sides of an image")]
fn window_frame(window: &Window, [_, height, width]: [usize; 3]) -> Frame {
    let part = |a: usize, b: usize| a as f32 / b as f32;
    Frame {
        xmin: part(window.left, width),
        ymin: part(window.top, height),
        xmax: part(window.left + window.width, width),
        ymax: part(window.top + window.height, height),
    }
}

/// Turned clockwise by quarters, then mirrored.
fn laid_down(mut frame: Frame, window: &Window) -> Frame {
    for _ in 0..window.turns {
        frame = Frame {
            xmin: 1.0 - frame.ymax,
            ymin: frame.xmin,
            xmax: 1.0 - frame.ymin,
            ymax: frame.xmax,
        };
    }
    if window.mirror {
        (frame.xmin, frame.xmax) = (1.0 - frame.xmax, 1.0 - frame.xmin);
    }
    frame
}

impl Recipe for Annotated {
    type Loaded<'a> = LoadedAnnotated<'a>;

    fn load<'a>(
        &self,
        record: &Record<'a>,
        spare: Vec<u8>,
        rng: &mut Rng,
    ) -> Result<Self::Loaded<'a>> {
        let mut datum: &[u8] = &[];
        let mut groups = Vec::new();
        let mut kind = self.boxes.then_some(0);
        let mut rest = record.value;
        while !rest.is_empty() {
            match field(&mut rest)? {
                (1, Value::Bytes(bytes)) => datum = bytes,
                (2, Value::Varint(n)) if !self.boxes => kind = Some(n),
                (2, Value::Varint(_)) => {}
                (3, Value::Bytes(bytes)) => groups.push(bytes),
                (1..=3, _) => {
                    return Err(malformed().help(
                        "name a database of AnnotatedDatum records, as SSD's convert_annoset writes them",
                    ));
                }
                _ => {}
            }
        }
        if kind.is_some_and(|kind| kind != 0) {
            return Err(Error::unsupported(
                "the record's annotations are of another type than BBOX",
            ));
        }
        let sample = decode_with(datum, self.transformer.color(), spare)?;
        let mut objects = match kind {
            Some(_) => Some(self.objects(&groups)?),
            None => None,
        };
        let sample = match self.transformer.effects().is_empty() && self.samplers.is_empty() {
            true => sample,
            false => self.augment(sample, &mut objects, rng)?,
        };
        Ok(LoadedAnnotated { sample, objects })
    }

    fn parts(&self, loaded: &Self::Loaded<'_>) -> Result<Parts> {
        let dims = self.transformer.output_dims(loaded.sample.dims())?;
        let labels = match loaded.objects {
            Some(_) => Part::Rows,
            None => Part::Number,
        };
        Ok([Part::Planes(dims), labels].into_iter().collect())
    }

    #[allow(clippy::as_conversions, reason = "sides of an image")]
    fn put(&self, loaded: Self::Loaded<'_>, out: &mut Out<'_>, rng: &mut Rng) -> Result<Vec<u8>> {
        let LoadedAnnotated { sample, objects } = loaded;
        let dims = sample.dims();
        let window = self.transformer.draw(dims, rng)?;
        let [data, labels] = &mut *out.values else {
            return Ok(sample.spare());
        };
        self.transformer.write(&sample, &window, data)?;
        match objects {
            None => labels.fill(number(sample.label)),
            Some(objects) => {
                let fit = self.transformer.effects().fit();
                let scale = fit.and_then(|fit| fit.scaled([window.height, window.width]));
                let [down, across] = scale.unwrap_or([1.0; 2]);
                let seen = self.inside(&objects, window_frame(&window, dims));
                out.rows = seen
                    .into_iter()
                    .map(|object| {
                        let frame = laid_down(object.frame, &window);
                        [
                            object.group,
                            object.instance,
                            frame.xmin * across,
                            frame.ymin * down,
                            frame.xmax * across,
                            frame.ymax * down,
                            object.difficult,
                        ]
                    })
                    .collect();
            }
        }
        Ok(sample.spare())
    }
}

#[cfg(test)]
mod tests;
