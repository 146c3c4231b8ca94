//! What rules look at: the nets of a run in their phases, and the solver.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    finding::Edit,
    probe::Probe,
    samples::{self, Seen},
    view::{Sources, View},
};
use crate::{
    error::{Error, Place},
    load::{LoadOptions, NetFile, SolverFile},
    schema::{LayerParameter, NetState, Phase},
    tensor::Shape,
    text::{Block, Span},
};

/// How to look.
#[derive(Clone, Debug)]
pub struct Options {
    /// Relative paths of nets and solvers start here; empty means the working directory.
    pub root: PathBuf,
    /// Shapes of blobs whose data is not at hand.
    pub shapes: Vec<(String, Shape)>,
    /// How to read files.
    pub load: LoadOptions,
    /// Whether a small batch may be run forward, to see what weights start as.
    pub probe: bool,
    /// Records of each database to look at, at most; 0 opens none for its labels.
    pub records: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            root: PathBuf::new(),
            shapes: Vec::new(),
            load: LoadOptions::default(),
            probe: true,
            records: 2000,
        }
    }
}

/// The nets of a run in their phases, and its solver.
pub(crate) struct Subject<'a> {
    pub(crate) options: &'a Options,
    /// Where relative paths of nets were found to start; the options' root, unless everything is found elsewhere.
    pub(crate) root: PathBuf,
    pub(crate) solver: Option<&'a SolverFile>,
    /// The net to train first.
    pub(crate) views: Vec<View<'a>>,
    /// The net for use beside the net to train, where there is one.
    pub(crate) deploy: Option<&'a NetFile>,
    /// Nets that the solver names and that are not there, with where it does.
    pub(crate) missing_nets: Vec<(String, Option<Place>)>,
    /// What could not be loaded, with where it is named.
    pub(crate) unreadable: Vec<(Error, Option<Place>)>,
    pub(crate) probe: OnceCell<Option<Rc<Probe>>>,
    seen: RefCell<Looked>,
}

/// What was seen of the labels of a view's source, by net, layer and top.
type Looked = HashMap<(usize, usize, usize), Option<Rc<Seen>>>;

impl<'a> Subject<'a> {
    pub(crate) fn new(options: &'a Options, root: PathBuf, solver: Option<&'a SolverFile>) -> Self {
        Self {
            options,
            root,
            solver,
            views: Vec::new(),
            deploy: None,
            missing_nets: Vec::new(),
            unreadable: Vec::new(),
            probe: OnceCell::new(),
            seen: RefCell::default(),
        }
    }

    /// Adds a net in a phase; one whose rules contradict each other is told as unreadable.
    pub(crate) fn add(&mut self, file: &'a NetFile, phase: Phase, over: Option<&NetState>) {
        let sources = Sources {
            root: &self.root,
            shapes: &self.options.shapes,
        };
        match View::new(file, phase, over, sources) {
            Ok(view) => self.views.push(view),
            Err(error) => self.unreadable.push((error, None)),
        }
    }

    /// The view of the net to train, where it can be trained.
    pub(crate) fn training(&self) -> Option<&View<'a>> {
        (self.views.iter()).find(|view| view.phase == Phase::Train && view.has_loss())
    }

    /// What the records say that a data layer's top brings; `None` where they cannot be read.
    pub(crate) fn seen(&self, view: usize, node: usize, top: usize) -> Option<Rc<Seen>> {
        if self.options.records == 0 {
            return None;
        }
        let key = (view, node, top);
        if let Some(seen) = self.seen.borrow().get(&key) {
            return seen.clone();
        }
        let layer = self.views.get(view)?.nodes.get(node)?.layer;
        let seen = samples::look(layer, top, &self.root, self.options.records).map(Rc::new);
        self.seen.borrow_mut().insert(key, seen.clone());
        seen
    }

    /// A path of a net, seen from the root.
    pub(crate) fn under(&self, path: &str) -> PathBuf {
        under(&self.root, path)
    }
}

/// A path, seen from `root`.
pub(crate) fn under(root: &Path, path: &str) -> PathBuf {
    if root.as_os_str().is_empty() {
        PathBuf::from(path)
    } else {
        root.join(path)
    }
}

/// The edit that puts `text` in the place of a stretch of a net's file.
pub(crate) fn edit(file: &Path, span: Span, text: &str) -> Edit {
    Edit {
        file: file.to_path_buf(),
        start: span.start,
        end: span.end,
        text: text.to_owned(),
    }
}

/// The edit that takes a layer out of its file, with its lines where nothing else is on them; `None` where the file has no
/// text, or the layer does not stand in it alone.
pub(crate) fn removal(file: &NetFile, index: usize) -> Option<Edit> {
    let (field, block) = file.text_of(index)?;
    let span = Span {
        start: field.name_span.start,
        end: block.span.end,
    };
    let text = file.document()?.source().text();
    Some(edit(&file.path, whole_lines(text, span), ""))
}

/// A stretch, grown to whole lines where nothing but space is beside it.
pub(crate) fn whole_lines(text: &str, span: Span) -> Span {
    let before = text.get(..span.start).unwrap_or_default();
    let after = text.get(span.end..).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let end = after.find('\n').map_or(after.len(), |at| at + 1);
    let blank = |s: Option<&str>| s.unwrap_or_default().trim().is_empty();
    if blank(before.get(start..)) && blank(after.get(..end)) {
        Span {
            start,
            end: span.end + end,
        }
    } else {
        span
    }
}

/// The edits that make the readers of a node's only top read its first bottom instead, and with `remove` take the node
/// out. `None` where that is not safe: another layer makes the blob too, or somebody reads it in a place that the text does
/// not show.
pub(crate) fn bypass(view: &View<'_>, node: usize, remove: bool) -> Option<Vec<Edit>> {
    let file = view.file;
    let this = view.nodes.get(node)?;
    let ([bottom], [top]) = (&this.layer.bottom[..], &this.layer.top[..]) else {
        return None;
    };
    let mut edits = Vec::new();
    if remove {
        edits.push(removal(file, this.index)?);
    }
    if bottom == top {
        return remove.then_some(edits);
    }
    let makers = file.net.layer.iter().filter(|l| l.top.contains(top));
    if makers.count() != 1 {
        return None;
    }
    for (index, reader) in file.net.layer.iter().enumerate() {
        if reader.bottom.contains(top) {
            edits.extend(rename_bottom(file, index, top, bottom)?);
        }
    }
    Some(edits)
}

/// The edits that make a layer read another blob.
pub(crate) fn rename_bottom(
    file: &NetFile,
    index: usize,
    from: &str,
    to: &str,
) -> Option<Vec<Edit>> {
    let (_, block) = file.text_of(index)?;
    let spans = text_values(block, "bottom", from);
    (!spans.is_empty()).then(|| {
        let quoted = format!("\"{to}\"");
        (spans.into_iter())
            .map(|span| edit(&file.path, span, &quoted))
            .collect()
    })
}

/// Where in a block a field has this text as its value.
pub(crate) fn text_values(block: &Block, field: &str, value: &str) -> Vec<Span> {
    use crate::text::{ScalarKind, Value};
    let spans = block.values(field).filter_map(|(_, found)| match found {
        Value::Scalar(scalar) if scalar.kind == ScalarKind::Text(value.into()) => Some(scalar.span),
        _ => None,
    });
    spans.collect()
}

/// Files that a layer names: field and path.
pub(crate) fn files_of(layer: &LayerParameter) -> Vec<(&'static str, String)> {
    let mut files: Vec<(&'static str, &str)> = Vec::new();
    if let Some(p) = &layer.data_param {
        files.push(("data_param.source", p.source()));
    }
    if let Some(p) = &layer.image_data_param {
        files.push(("image_data_param.source", p.source()));
    }
    if let Some(p) = &layer.dense_image_data_param {
        files.push(("dense_image_data_param.source", p.source()));
    }
    if let Some(p) = &layer.hdf5_data_param {
        files.push(("hdf5_data_param.source", p.source()));
    }
    if let Some(p) = &layer.window_data_param {
        files.push(("window_data_param.source", p.source()));
    }
    if let Some(p) = &layer.infogain_loss_param {
        files.push(("infogain_loss_param.source", p.source()));
    }
    if let Some(p) = &layer.transform_param {
        files.push(("transform_param.mean_file", p.mean_file()));
    }
    let named = files.into_iter().filter(|(_, path)| !path.is_empty());
    named
        .map(|(field, path)| (field, path.to_owned()))
        .collect()
}
