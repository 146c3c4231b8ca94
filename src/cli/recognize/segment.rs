//! `segment`: maps of classes: labels as a palette PNG, laid over the image, and a heat map for each channel.

use serde_json::json;

use super::{
    super::{
        args::{Args, Flag},
        command::{Command, Status},
        nets,
        ui::Ui,
    },
    BLOB, IMAGES, JSON, LABELS, MEAN, Names, Out, Recognizer, SCALE, files, show,
};
use crate::{
    error::{Error, ErrorKind, Result},
    feed::pictures::rgb,
    metrics::argmax,
    model_io::write_file,
    report::palette,
    tensor::View,
};

/// The row of the table.
pub(in crate::cli) const COMMAND: Command = Command {
    name: "segment",
    about: "map the classes of images: label PNGs, overlays, heat maps",
    flags: &[
        nets::MODEL,
        nets::WEIGHTS,
        MEAN,
        SCALE,
        LABELS,
        Flag::value("out", "DIR", "Where the pictures go (default: segmented)"),
        Flag::switch("heat", "Write a heat map for each channel too"),
        Flag::switch("small", "Leave label maps at the size of the net's output"),
        BLOB,
        JSON,
        nets::EXACT,
        IMAGES,
    ],
    examples: "  cortado segment --model=deploy.prototxt --weights=net.caffemodel --mean=mean.binaryproto face.png --heat\n  cortado segment --model=deploy.prototxt --weights=net.caffemodel --labels=names.txt --json 'faces/*.png'",
    run,
};

fn run(args: &Args, ui: &mut Ui) -> Result<Status> {
    let example = "segment --model=deploy.prototxt --weights=net.caffemodel face.png";
    let names = Names::read(args)?;
    let (json, heat, small) = (
        args.switch("json"),
        args.switch("heat"),
        args.switch("small"),
    );
    let mut net = Recognizer::open(args, example, ui)?;
    let files = files(args)?;
    // Before a folder is made for it.
    net.net
        .blob(&net.output)
        .map_or(Ok(()), |view| Map::of(view).map(drop))?;
    let mut out = Out::of(&args.or_default("out", "segmented"))?
        .ok_or_else(|| Error::new(ErrorKind::Param, "--out names no folder"))?;
    let mut list = Vec::new();
    let status = net.each(&files, ui, |ui, file, sample, scores| {
        let map = Map::of(scores)?;
        let (rgb, classes) = (rgb(sample), map.classes());
        let picture = show(sample, &rgb)?;
        let cells = (map.rows, map.columns);
        let labels = out.path(file, "labels");
        if small {
            write_labels(&labels, &classes, map.columns, map.rows)?;
        } else {
            let large = enlarged(&classes, cells, (sample.height, sample.width));
            write_labels(&labels, &large, sample.width, sample.height)?;
        }
        super::save(
            &out.path(file, "overlay"),
            &picture.classes(&classes, cells, 1)?,
        )?;
        if heat {
            for channel in 0..map.channels {
                let values = map.channel(channel);
                let (low, high) = range(map.scores);
                let shown: Vec<f32> = values.iter().map(|v| (v - low) / (high - low)).collect();
                let name = format!("channel_{channel}");
                super::save(&out.path(file, &name), &picture.heat(&shown, cells, 1)?)?;
            }
        }
        let counts: Vec<(usize, usize)> = (0..map.channels)
            .map(|c| (c, classes.iter().filter(|&&class| class == c).count()))
            .filter(|&(_, n)| n > 0)
            .collect();
        let share = |n: usize| n as f64 / classes.len() as f64;
        if json {
            let shares = counts.iter().map(
                |&(c, n)| json!({ "class": c, "label": names.of(c as i64), "share": share(n) }),
            );
            list.push(json!({
                "file": file.display().to_string(), "labels": labels.display().to_string(),
                "classes": shares.collect::<Vec<_>>(),
            }));
            return Ok(());
        }
        let told: Vec<String> = counts
            .iter()
            .map(|&(c, n)| format!("{} {:.1} %", names.of(c as i64), share(n) * 100.0))
            .collect();
        ui.print(&format!(
            "{}: {} ({})\n",
            file.display(),
            told.join(", "),
            labels.display()
        ))
    })?;
    if json {
        ui.json(&json!(list))?;
    }
    Ok(status)
}

/// Scores of one image, a plane for each class.
struct Map<'a> {
    scores: &'a [f32],
    channels: usize,
    rows: usize,
    columns: usize,
}

impl<'a> Map<'a> {
    fn of(view: View<'a>) -> Result<Self> {
        match *view.shape.dims() {
            [_, channels, rows, columns] if channels > 0 && rows * columns > 0 => Ok(Self {
                scores: view.data,
                channels,
                rows,
                columns,
            }),
            _ => Err(
                Error::shape(format!("the output is {}, no map of classes", view.shape))
                    .help("choose a blob of images x classes x height x width with --blob"),
            ),
        }
    }

    fn channel(&self, c: usize) -> &'a [f32] {
        let plane = self.rows * self.columns;
        &self.scores[c * plane..(c + 1) * plane]
    }

    /// The class of the highest score at each place.
    fn classes(&self) -> Vec<usize> {
        let plane = self.rows * self.columns;
        if self.channels == 1 {
            // A map of labels already, as ArgMax leaves it.
            return self
                .channel(0)
                .iter()
                .map(|&v| v.max(0.0) as usize)
                .collect();
        }
        (0..plane)
            .map(|at| argmax(self.scores.iter().skip(at).step_by(plane).copied()))
            .collect()
    }
}

/// The smallest and the largest value; apart, so that a flat map can be shown.
fn range(values: &[f32]) -> (f32, f32) {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if high > low {
        (low, high)
    } else {
        (low, low + 1.0)
    }
}

/// Each place takes the class of the cell that it lies in.
fn enlarged(
    classes: &[usize],
    (rows, columns): (usize, usize),
    (height, width): (usize, usize),
) -> Vec<usize> {
    (0..height)
        .flat_map(|y| {
            let row = y * rows / height;
            (0..width).map(move |x| row * columns + x * columns / width)
        })
        .map(|cell| classes[cell])
        .collect()
}

/// A PNG whose bytes are the classes, with the colours of the overlays as its palette.
fn write_labels(
    path: &std::path::Path,
    classes: &[usize],
    width: usize,
    height: usize,
) -> Result<()> {
    let wrong =
        |e: png::EncodingError| Error::data(format!("cannot make '{}': {e}", path.display()));
    let side =
        |n: usize| u32::try_from(n).map_err(|_| Error::shape("the map is too large for a PNG"));
    let bytes: Vec<u8> = classes
        .iter()
        .map(|&c| u8::try_from(c).unwrap_or(u8::MAX))
        .collect();
    let colors: Vec<u8> = (0..256).flat_map(palette::class).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side(width)?, side(height)?);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(colors);
    let mut writer = encoder.write_header().map_err(wrong)?;
    writer.write_image_data(&bytes).map_err(wrong)?;
    writer.finish().map_err(wrong)?;
    write_file(path, &file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn maps_of_scores_and_of_labels() {
        let scores = Tensor::new([1, 2, 1, 3], vec![0., 5., 1., 1., 2., 1.]).unwrap();
        let map = Map::of(scores.view()).unwrap();
        assert_eq!(map.classes(), [1, 0, 0]);
        let labels = Tensor::new([1, 1, 1, 3], vec![3., 0., -1.]).unwrap();
        assert_eq!(Map::of(labels.view()).unwrap().classes(), [3, 0, 0]);
        let flat = Tensor::zeros([1, 5]);
        assert!(Map::of(flat.view()).is_err());
        assert_eq!(range(&[2.0, 2.0]), (2.0, 3.0));
    }

    #[test]
    fn cells_grow_to_pixels() {
        assert_eq!(
            enlarged(&[1, 2, 3, 4], (2, 2), (2, 4)),
            [1, 1, 2, 2, 3, 3, 4, 4]
        );
    }

    #[test]
    fn a_label_map_keeps_its_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.png");
        write_labels(&path, &[0, 1, 7, 300], 2, 2).unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut bytes = vec![0; 4];
        reader.next_frame(&mut bytes).unwrap();
        assert_eq!(bytes, [0, 1, 7, 255]);
        assert_eq!(
            &reader.info().palette.as_ref().unwrap()[3..6],
            palette::class(1)
        );
    }
}
