//! The samples of a batch as pictures, and what their records are called.

use std::path::Path;

use image::{RgbImage, imageops};

use crate::{
    error::Result,
    feed::{self, list, source::Source},
    graph::{Graph, Node},
    layer::Role,
    report::{
        heatmap::Picture,
        photo::{Undo, photo},
        png,
    },
    schema::{TransformationParameter, data_parameter::Db},
    tensor::View,
};

/// Pictures are made smaller than this along either side.
const LARGEST: u32 = 256;
/// And enlarged to about this.
const SMALLEST: u32 = 128;

/// The blob that a net is shown: the first that data brings with rows and columns and is no label.
pub(super) fn shown(graph: &Graph, labels: &[&str]) -> Option<String> {
    let values = graph
        .nodes
        .iter()
        .filter(|node| matches!(node.kind.role, Role::Data | Role::Input))
        .flat_map(|node| node.tops.iter().map(|&top| graph.value(top)))
        .filter(|value| value.shape.axes() == 4 && !labels.contains(&&*value.name));
    let mut best: Option<(bool, String)> = None;
    for value in values {
        let picture = [1, 3].contains(&value.shape.dims()[1]);
        if best.as_ref().is_none_or(|(known, _)| picture && !known) {
            best = Some((picture, value.name.to_string()));
        }
    }
    best.map(|(_, name)| name)
}

/// The layer that brings a blob.
pub(super) fn producer<'a>(graph: &'a Graph, blob: &str) -> Option<(usize, &'a Node)> {
    let id = graph.value(graph.latest(blob)?).producer;
    Some((id.index(), graph.node(id)))
}

/// Makes pictures of samples, as far as what was done to their pixels can be undone.
pub(super) struct Camera {
    undo: Option<Undo>,
}

impl Camera {
    /// For what this layer brings.
    pub(super) fn new(node: &Node) -> Self {
        let param = node.def.param.transform_param.as_ref();
        Self {
            undo: param.and_then(|p| undo(p, &node.def.root)),
        }
    }

    /// Sample `index` of a batch.
    pub(super) fn shot(&self, view: View<'_>, index: usize) -> Result<Shot> {
        let size: [usize; 3] = std::array::from_fn(|i| view.shape.legacy(i + 1));
        let count: usize = size.iter().product();
        let from = index.saturating_mul(count);
        let values = view.data.get(from..from.saturating_add(count));
        let image = photo(values.unwrap_or_default(), size, self.undo.as_ref())?;
        Ok(Shot::new(image))
    }
}

/// What can be undone; `None` where nothing was done or too much.
fn undo(param: &TransformationParameter, root: &Path) -> Option<Undo> {
    let mean = match &param.mean_file {
        Some(file) => feed::read_blob(root, file).ok()?.data,
        None => param.mean_value.clone(),
    };
    Some(Undo {
        scale: param.scale(),
        mean,
    })
}

/// A picture of a sample of a size that a page can show.
pub(super) struct Shot {
    image: RgbImage,
    zoom: u32,
}

impl Shot {
    fn new(image: RgbImage) -> Self {
        let side = image.width().max(image.height()).max(1);
        let image = if side > LARGEST {
            let fit = |n: u32| (u64::from(n) * u64::from(LARGEST) / u64::from(side)).max(1);
            let fit = |n: u32| u32::try_from(fit(n)).unwrap_or(LARGEST);
            imageops::thumbnail(&image, fit(image.width()), fit(image.height()))
        } else {
            image
        };
        let zoom = SMALLEST.div_ceil(side).clamp(1, 16);
        Self { image, zoom }
    }

    fn canvas(&self) -> Result<Picture<'_>> {
        let side = |n: u32| n as usize;
        Picture::new(
            side(self.image.width()),
            side(self.image.height()),
            self.image.as_raw(),
        )
    }

    /// The picture itself.
    pub(super) fn plain(&self) -> Result<Vec<u8>> {
        png(&self.canvas()?.plain(self.zoom)?)
    }

    /// With values from 0 to 1 over it.
    pub(super) fn heat(&self, values: &[f32], size: (usize, usize)) -> Result<Vec<u8>> {
        png(&self.canvas()?.heat(values, size, self.zoom)?)
    }

    /// With classes over it.
    pub(super) fn classes(&self, classes: &[usize], size: (usize, usize)) -> Result<Vec<u8>> {
        png(&self.canvas()?.classes(classes, size, self.zoom)?)
    }
}

/// Looks up what records are called.
pub(super) enum Keys {
    /// In a database.
    Source(Box<dyn Source>),
    /// Lines of a list.
    List(list::List),
    /// They have numbers only.
    Numbers,
}

impl Keys {
    /// Of the records that this layer reads. Where they cannot be had, numbers have to do.
    pub(super) fn new(node: &Node) -> Self {
        let (root, param) = (&node.def.root, &node.def.param);
        match node.kind.name {
            "Data" | "AnnotatedData" => {
                let data = param.data_param.clone().unwrap_or_default();
                let backend = data.backend.and_then(|b| Db::try_from(b).ok());
                feed::open_database(root, data.source(), backend)
                    .map_or(Self::Numbers, Self::Source)
            }
            "ImageData" => {
                let data = param.image_data_param.clone().unwrap_or_default();
                if data.shuffle() || data.rand_skip() > 0 {
                    return Self::Numbers;
                }
                list::List::read(root, data.source(), list::Form::Label)
                    .map_or(Self::Numbers, Self::List)
            }
            _ => Self::Numbers,
        }
    }

    /// The name of record `number`, counted over all passes.
    pub(super) fn key(&mut self, number: u64) -> String {
        let found = match self {
            Self::Source(source) => source.seek(number).ok().and_then(|()| {
                let mut key = None;
                let read = source.read(1, &mut |records| {
                    key = records.first().map(|r| r.key.escape_ascii().to_string());
                    Ok(())
                });
                read.ok().and(key)
            }),
            Self::List(list) => usize::try_from(number).ok().and_then(|n| {
                let record = feed::source::Record {
                    number: (n % list.len().max(1)) as u64,
                    key: b"",
                    value: b"",
                };
                let entry = list.entry(&record).ok()?;
                Some(list.path(entry).to_owned())
            }),
            Self::Numbers => None,
        };
        found.unwrap_or_else(|| number.to_string())
    }
}
