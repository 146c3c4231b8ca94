//! Where in an image the cells of a net's map lie: its stride and its crop, read off the net itself.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    error::{Error, ErrorKind, Result},
    feed::{database::Database, datum::Color, record::Stored, resolve},
    graph::{self, BuildOptions, Graph, Node},
    nearest::nearest,
    params::Params,
    schema::{
        BlobShape, ConvolutionParameter, InputParameter, LayerParameter, NetParameter,
        PoolingParameter,
    },
    tensor::Shape,
};

/// Places along one axis: place `i` of the map is over `scale * i + offset` of the image; pixel centres are whole
/// numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Pixels between neighbouring places.
    pub scale: f64,
    /// Where place 0 is.
    pub offset: f64,
    /// How many places there are.
    pub count: usize,
}

/// Where a map's cells lie in an image, and how many kinds of them the map tells apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// From top to bottom, from left to right.
    pub lines: [Line; 2],
    /// Channels of the map.
    pub channels: usize,
}

/// A net as far as one of its blobs.
pub struct Like {
    net: NetParameter,
    blob: String,
    root: PathBuf,
    /// Grids by the height and width of the image.
    known: Mutex<BTreeMap<[usize; 2], Grid>>,
}

/// What a layer that brings images does with their size.
#[derive(Clone, Copy, Debug, Default)]
struct Intake {
    /// Height and width before the crop.
    resized: Option<[usize; 2]>,
    crop: Option<[usize; 2]>,
    /// The size that an Input layer has, whatever comes.
    fixed: Option<[usize; 2]>,
}

impl Like {
    /// Takes what `blob` needs of a net, whose state is set. The net's relative paths start at `root`.
    ///
    /// # Errors
    /// `Param` where it has no such blob.
    pub fn new(net: &NetParameter, blob: &str, root: &Path) -> Result<Self> {
        let (mut net, ..) = graph::filter(net)?;
        let mut needed = vec![blob.to_owned()];
        let mut made = false;
        let mut kept = Vec::new();
        for layer in net.layer.drain(..).rev().collect::<Vec<_>>() {
            let makes = layer.top.iter().any(|top| needed.contains(top));
            if makes {
                made |= layer.top.iter().any(|top| top == blob);
                needed.extend(layer.bottom.iter().cloned());
                kept.push(layer);
            } else {
                net.layer.push(layer);
            }
        }
        if !made {
            let tops: Vec<&str> = net
                .layer
                .iter()
                .flat_map(|l| &l.top)
                .map(String::as_str)
                .collect();
            let error = Error::param("--blob", format!("the net has no blob '{blob}'"));
            return Err(match nearest(blob, tops) {
                Some(near) => error.help(format!("did you mean '{near}'?")),
                None => error.help("name the blob that is compared with the labels"),
            });
        }
        kept.reverse();
        net.layer = kept;
        Ok(Self {
            net,
            blob: blob.to_owned(),
            root: root.to_owned(),
            known: Mutex::default(),
        })
    }

    /// Where the blob's cells lie in an image of this height and width.
    ///
    /// # Errors
    /// `Shape` where the net does not take such an image; `Unsupported` where a layer on the way keeps no places.
    pub fn grid(&self, size: [usize; 2]) -> Result<Grid> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grid) = known.get(&size) {
            return Ok(grid.clone());
        }
        let grid = self.compute(size)?;
        known.insert(size, grid.clone());
        Ok(grid)
    }

    /// One of the grids that were asked for.
    pub fn any(&self) -> Option<Grid> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().next().cloned()
    }

    fn compute(&self, size: [usize; 2]) -> Result<Grid> {
        let mut net = self.net.clone();
        let mut intakes = BTreeMap::new();
        for layer in net.layer.iter_mut().filter(|l| l.bottom.is_empty()) {
            let intake = intake(layer)?;
            stand_in(layer, size, intake, &self.root)?;
            intakes.insert(layer.name().to_owned(), intake);
        }
        let mut params = Params::new();
        let options = BuildOptions {
            root: self.root.clone(),
            brought: Some(&|_, _| true),
            ..BuildOptions::default()
        };
        let built = graph::build(&net, &mut params, &options)?;
        let (lines, source) = self.walk(&built.graph)?;
        let intake = intakes.get(&source).copied().unwrap_or_default();
        let shape = built.graph.latest(&self.blob);
        let channels = shape.map_or(0, |v| built.graph.value(v).shape.legacy(1));
        let mut lines = lines;
        for (axis, line) in lines.iter_mut().enumerate() {
            let seen = intake.resized.map_or(size[axis], |s| s[axis]);
            if let Some(crop) = intake.crop.or(intake.fixed) {
                // The middle, as in TEST.
                let crop = crop[axis];
                if crop > seen {
                    return Err(Error::shape(format!(
                        "the net takes {crop} {} of an image, and the label map has {seen}",
                        ["rows", "columns"][axis]
                    ))
                    .help("give label maps of the size of the images"));
                }
                line.offset += ((seen - crop) / 2) as f64;
            }
            // Pixel centres of the resized image in the label map as it is.
            let ratio = size[axis] as f64 / seen as f64;
            line.offset = (line.offset + 0.5) * ratio - 0.5;
            line.scale *= ratio;
        }
        Ok(Grid { lines, channels })
    }

    /// The places along both axes, and the name of the layer that brings the image.
    fn walk(&self, graph: &Graph) -> Result<([Line; 2], String)> {
        let unknown = || Error::param("--blob", format!("the net has no blob '{}'", self.blob));
        let mut value = graph.latest(&self.blob).ok_or_else(unknown)?;
        let own = spatial(&graph.value(value).shape).ok_or_else(|| {
            Error::shape(format!(
                "'{}' has the shape {}, which has no rows and columns",
                self.blob,
                graph.value(value).shape
            ))
            .help("name a blob of batch x channels x height x width")
        })?;
        let mut lines = own.map(|count| Line {
            scale: 1.0,
            offset: 0.0,
            count,
        });
        loop {
            let id = graph.value(value).producer;
            let node = graph.node(id);
            let Some(&bottom) = node.bottoms.first() else {
                return Ok((lines, node.name.to_string()));
            };
            let sizes = spatial(&graph.value(bottom).shape).zip(spatial(&graph.value(value).shape));
            let step = sizes.and_then(|(from, to)| step(node, from, to));
            let Some(step) = step else {
                return Err(Error::unsupported(format!(
                    "places of '{}' are none of the image: the layer before it keeps none",
                    self.blob
                ))
                .help("name a blob that only convolutions, pooling and the like lead to")
                .at(graph.place(id)));
            };
            for (line, (scale, offset)) in lines.iter_mut().zip(step) {
                line.offset = scale * line.offset + offset;
                line.scale *= scale;
            }
            value = bottom;
        }
    }
}

fn spatial(shape: &Shape) -> Option<[usize; 2]> {
    match *shape.dims() {
        [_, _, h, w] if h > 0 && w > 0 => Some([h, w]),
        _ => None,
    }
}

/// A size that a message tells once, or for each axis, or by `_h` and `_w`.
fn told(values: &[u32], by_axis: [Option<u32>; 2], default: f64) -> [f64; 2] {
    match (by_axis, values) {
        ([None, None], []) => [default; 2],
        ([None, None], [one]) => [f64::from(*one); 2],
        ([None, None], [h, w, ..]) => [f64::from(*h), f64::from(*w)],
        (each, _) => each.map(|v| v.map_or(default, f64::from)),
    }
}

/// Window, stride, padding and dilation.
struct Slide {
    kernel: [f64; 2],
    stride: [f64; 2],
    pad: [f64; 2],
    dilation: [f64; 2],
}

impl Slide {
    fn of_convolution(p: &ConvolutionParameter) -> Self {
        Self {
            kernel: told(&p.kernel_size, [p.kernel_h, p.kernel_w], 1.0),
            stride: told(&p.stride, [p.stride_h, p.stride_w], 1.0),
            pad: told(&p.pad, [p.pad_h, p.pad_w], 0.0),
            dilation: told(&p.dilation, [None, None], 1.0),
        }
    }

    fn of_pooling(p: &PoolingParameter) -> Self {
        let one = |v: Option<u32>| v.map(|v| vec![v]).unwrap_or_default();
        Self {
            kernel: told(&one(p.kernel_size), [p.kernel_h, p.kernel_w], 1.0),
            stride: told(&one(p.stride), [p.stride_h, p.stride_w], 1.0),
            pad: told(&one(p.pad), [p.pad_h, p.pad_w], 0.0),
            dilation: [1.0; 2],
        }
    }

    /// Where the middle of a window is, seen from its padded start.
    fn middle(&self, axis: usize) -> f64 {
        self.dilation[axis] * (self.kernel[axis] - 1.0) / 2.0 - self.pad[axis]
    }
}

/// For each axis scale and offset of a place at the bottom by one at the top.
fn step(node: &Node, from: [usize; 2], to: [usize; 2]) -> Option<[(f64, f64); 2]> {
    let param = &node.def.param;
    let axes = |f: &dyn Fn(usize) -> (f64, f64)| Some([f(0), f(1)]);
    let windows = |slide: Slide| axes(&|i| (slide.stride[i], slide.middle(i)));
    match node.kind.name {
        "Convolution" | "ConvolutionDepthwise" | "DepthwiseConvolution" | "Im2col" => {
            windows(Slide::of_convolution(param.convolution_param.as_ref()?))
        }
        "Pooling" => {
            let pooling = param.pooling_param.unwrap_or_default();
            if pooling.global_pooling() {
                return None;
            }
            windows(Slide::of_pooling(&pooling))
        }
        "Deconvolution" => {
            let slide = Slide::of_convolution(param.convolution_param.as_ref()?);
            axes(&|i| (1.0 / slide.stride[i], -slide.middle(i) / slide.stride[i]))
        }
        "Interp" => {
            // Corners lie on corners.
            let gap = |n: usize| (n as f64 - 1.0).max(1.0);
            axes(&|i| (gap(from[i]) / gap(to[i]), 0.0))
        }
        "Upsample" => axes(&|i| {
            let ratio = from[i] as f64 / to[i] as f64;
            (ratio, 0.5 * ratio - 0.5)
        }),
        "Crop" => {
            let crop = param.crop_param.clone().unwrap_or_default();
            let first = crop.axis();
            let first = if first < 0 { first + 4 } else { first };
            axes(&|i| {
                let at = i32::try_from(i + 2).unwrap_or(0) - first;
                let offset = match (usize::try_from(at), &crop.offset[..]) {
                    (Err(_), _) | (_, []) => 0,
                    (_, [one]) => *one,
                    (Ok(at), each) => each.get(at).copied().unwrap_or(0),
                };
                (1.0, f64::from(offset))
            })
        }
        "InnerProduct" | "Flatten" | "Reshape" | "Permute" | "SPP" => None,
        // Whatever keeps rows and columns keeps their places.
        _ if from == to => Some([(1.0, 0.0); 2]),
        _ => None,
    }
}

/// What this layer does with the size of its images.
fn intake(layer: &LayerParameter) -> Result<Intake> {
    let size = |h: u32, w: u32| (h > 0 && w > 0).then_some([h as usize, w as usize]);
    let transform = layer.transform_param.clone().unwrap_or_default();
    if transform.resize_param.is_some() {
        return Err(Error::unsupported(
            "the images are resized by resize_param as they are read, and labels would have to be, too",
        )
        .help("resize the images when the database is made: convert_imageset --resize_height --resize_width"));
    }
    let mut intake = Intake {
        crop: size(transform.crop_size(), transform.crop_size())
            .or(size(transform.crop_h(), transform.crop_w())),
        ..Intake::default()
    };
    if let Some(p) = &layer.image_data_param {
        intake.resized = size(p.new_height(), p.new_width());
    }
    if let Some(p) = &layer.input_param {
        intake.fixed = p.shape.first().and_then(|shape| match shape.dim[..] {
            [_, _, h, w] => Some([usize::try_from(h).ok()?, usize::try_from(w).ok()?]),
            _ => None,
        });
    }
    Ok(intake)
}

/// Makes an Input of a layer that brings images, for images of this size.
fn stand_in(
    layer: &mut LayerParameter,
    size: [usize; 2],
    intake: Intake,
    root: &Path,
) -> Result<()> {
    if layer.r#type() == "Input" {
        return Ok(());
    }
    let [height, width] = intake.crop.or(intake.resized).unwrap_or(size);
    let extent = |n: usize| {
        i64::try_from(n).map_err(|_| Error::new(ErrorKind::Shape, "the image is too large"))
    };
    let image = [1, channels(layer, root), extent(height)?, extent(width)?];
    let shapes = (0..layer.top.len()).map(|i| BlobShape {
        dim: if i == 0 { image.to_vec() } else { vec![1] },
    });
    *layer = LayerParameter {
        name: layer.name.take(),
        r#type: Some("Input".to_owned()),
        input_param: Some(InputParameter {
            shape: shapes.collect(),
        }),
        top: std::mem::take(&mut layer.top),
        ..LayerParameter::default()
    };
    Ok(())
}

/// The channels of a layer's images: of its database, where that is there; else those of colour.
fn channels(layer: &LayerParameter, root: &Path) -> i64 {
    if layer
        .image_data_param
        .as_ref()
        .is_some_and(|p| !p.is_color())
    {
        return 1;
    }
    let source = layer.data_param.as_ref().map(|p| p.source());
    let first = source.filter(|s| !s.is_empty()).and_then(|source| {
        let mut database = Database::open(&resolve(root, source)).ok()?;
        let (_, value) = database.next().ok()??;
        let sample = Stored::read(value).ok()?.sample(Color::AsStored).ok()?;
        i64::try_from(sample.channels).ok()
    });
    first.unwrap_or(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    fn grid(text: &str, blob: &str, size: [usize; 2]) -> Result<Grid> {
        let source = text::Source::new("net", text);
        let net = text::parse::<NetParameter>("NetParameter", &source)
            .unwrap()
            .message;
        Like::new(&net, blob, Path::new(""))?.grid(size)
    }

    const NET: &str = "layer { name: 'd' type: 'Data' top: 'x' top: 'l' transform_param { crop_size: 20 } data_param { source: 'nowhere' } }
      layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { num_output: 2 kernel_size: 5 pad: 2 } }
      layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' }
      layer { name: 'p' type: 'Pooling' bottom: 'c' top: 'p' pooling_param { kernel_size: 3 stride: 2 } }
      layer { name: 'q' type: 'Pooling' bottom: 'p' top: 'q' pooling_param { kernel_size: 3 stride: 2 } }
      layer { name: 'l2' type: 'Convolution' bottom: 'q' top: 'last' convolution_param { num_output: 5 kernel_size: 1 } }
      layer { name: 'u' type: 'Deconvolution' bottom: 'last' top: 'up' convolution_param { num_output: 5 kernel_size: 8 stride: 4 pad: 2 } }
      layer { name: 'i' type: 'InnerProduct' bottom: 'last' top: 'ip' inner_product_param { num_output: 3 } }
      layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'last' bottom: 'l' top: 'loss' }";

    #[test]
    fn stride_and_crop() {
        // 20 to 10 to 5 by pooling; the middle of a window of 3 is 1 further in each time: 1 + 2.
        let found = grid(NET, "last", [24, 28]).unwrap();
        assert_eq!(found.channels, 5);
        let line = |offset| Line {
            scale: 4.0,
            offset,
            count: 5,
        };
        assert_eq!(found.lines, [line(3.0 + 2.0), line(3.0 + 4.0)]);
    }

    #[test]
    fn deconvolution_leads_back() {
        let up = grid(NET, "up", [20, 20]).unwrap();
        assert_eq!(up.lines[0].scale, 1.0);
        // (x - 1.5) / 4 of the map below, which has its places at 4 x + 3.
        assert_eq!(up.lines[0].offset, 1.5);
    }

    #[test]
    fn what_keeps_no_places_is_told() {
        let error = grid(NET, "ip", [20, 20]).unwrap_err().to_string();
        assert!(error.contains("no rows and columns"), "{error}");
        let error = grid(NET, "lst", [20, 20]).unwrap_err().to_string();
        assert!(error.contains("did you mean 'last'"), "{error}");
        let error = grid(NET, "last", [12, 20]).unwrap_err().to_string();
        assert!(error.contains("takes 20 rows"), "{error}");
    }
}
