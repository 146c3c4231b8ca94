//! What a detector finds against what is there, summed over a test.

use crate::{
    error::Result,
    events::{Event, Observer, Silent},
    metrics::precision::{Precision, ROW, Tally, Version},
    net::{Net, NetOptions},
    params::Params,
    schema::{BlobShape, DetectionEvaluateParameter, InputParameter, LayerParameter, NetParameter},
    solver::{Look, Watch},
    tensor::{Tensor, View},
};

/// Values of a row of annotations, as AnnotatedData makes them.
const TRUTH: usize = 8;

/// Adds up the average precisions of a net's detections: of every DetectionEvaluate, and of every layer of detections
/// that has none, where AnnotatedData brings what is there (boxes that overlap by half are right, difficult ones do not
/// count).
#[derive(Default)]
pub struct Detections {
    version: Version,
    /// Leave out what a DetectionEvaluate says: somebody else tells of it.
    judged_only: bool,
    running: Option<Vec<Running>>,
}

struct Running {
    blob: String,
    tally: Tally,
    judge: Option<Judge>,
}

/// A net of one DetectionEvaluate, for detections that have none.
struct Judge {
    truth: String,
    net: Net,
    params: Params,
}

/// Detections of a net, as its layers tell.
struct Found<'a> {
    blob: &'a String,
    /// Annotations, classes and background, where no layer judges.
    judge: Option<(&'a String, u32, u32)>,
}

fn found<'a>(layers: impl Iterator<Item = &'a LayerParameter>) -> Vec<Found<'a>> {
    let layers: Vec<&LayerParameter> = layers.collect();
    let judges = || layers.iter().filter(|l| l.r#type() == "DetectionEvaluate");
    let truth = layers
        .iter()
        .find(|l| l.r#type() == "AnnotatedData")
        .and_then(|l| l.top.get(1));
    let mut found = Vec::new();
    for layer in &layers {
        let Some(blob) = layer.top.first() else {
            continue;
        };
        // The classes of the YOLO layers are counted from 1: 0 is left for the background.
        let classes = match layer.r#type() {
            "DetectionEvaluate" => {
                found.push(Found { blob, judge: None });
                continue;
            }
            "DetectionOutput" => layer
                .detection_output_param
                .as_ref()
                .and_then(|p| Some((p.num_classes?, p.background_label_id()))),
            "YoloDetectionOutput" => layer
                .yolo_detection_output_param
                .as_ref()
                .map(|p| (p.num_classes().saturating_add(1), 0)),
            "Yolov3DetectionOutput" => layer
                .yolov3_detection_output_param
                .as_ref()
                .map(|p| (p.num_classes().saturating_add(1), 0)),
            _ => continue,
        };
        let (Some((classes, background)), Some(truth)) = (classes, truth) else {
            continue;
        };
        let background = u32::try_from(background).unwrap_or(u32::MAX);
        if !judges().any(|judge| judge.bottom.first() == Some(blob)) {
            found.push(Found {
                blob,
                judge: Some((truth, classes, background)),
            });
        }
    }
    found
}

/// The blobs that have to stay readable.
pub(super) fn wanted<'a>(layers: impl Iterator<Item = &'a LayerParameter>) -> Vec<String> {
    let blobs = |found: Found<'_>| {
        let truth = found.judge.map(|(truth, ..)| truth.clone());
        [Some(found.blob.clone()), truth].into_iter().flatten()
    };
    found(layers).into_iter().flat_map(blobs).collect()
}

impl Detections {
    /// Nothing counted; precisions become one figure in this way.
    pub fn new(version: Version) -> Self {
        Self {
            version,
            ..Self::default()
        }
    }

    /// As [`Detections::new`], for a solver whose tests tell themselves what a DetectionEvaluate says.
    pub fn beside_a_solver(version: Version) -> Self {
        Self {
            judged_only: true,
            ..Self::new(version)
        }
    }

    /// Adds the pass that a net just made.
    ///
    /// # Errors
    /// Of the DetectionEvaluate that judges, where detections or annotations make no sense.
    pub fn add(&mut self, net: &Net) -> Result<()> {
        if self.running.is_none() {
            let mut running = Vec::new();
            for found in found(super::heads::layers(net)) {
                let judge = match found.judge {
                    None if self.judged_only => continue,
                    None => None,
                    Some(of) => Some(Judge::new(of)?),
                };
                running.push(Running {
                    blob: found.blob.clone(),
                    tally: Tally::default(),
                    judge,
                });
            }
            self.running = Some(running);
        }
        for running in self.running.iter_mut().flatten() {
            running.add(net)?;
        }
        Ok(())
    }

    /// The blobs looked at, since the first pass.
    pub fn blobs(&self) -> impl Iterator<Item = &str> {
        self.running.iter().flatten().map(|r| &*r.blob)
    }

    /// What was counted since the last call.
    pub fn take(&mut self) -> Vec<Precision> {
        let running = self.running.take().unwrap_or_default().into_iter();
        let version = self.version;
        let of = |running: Running| Precision::new(&running.blob, &running.tally, version);
        let found = running.map(of);
        found.filter(|found| !found.classes.is_empty()).collect()
    }
}

impl Watch for Detections {
    fn test_pass(&mut self, look: &mut Look<'_>, _: &mut dyn Observer) -> Result<()> {
        if look.pass == 0 {
            self.running = None;
        }
        self.add(look.net)
    }

    fn test_done(&mut self, look: &mut Look<'_>, observer: &mut dyn Observer) -> Result<()> {
        for found in self.take() {
            observer.on(&Event::Precision {
                iteration: look.iteration,
                net: look.test.unwrap_or(0),
                blob: &found.blob,
                mean: found.mean.into(),
                classes: &found.figures(),
            });
        }
        Ok(())
    }
}

impl Running {
    fn add(&mut self, net: &Net) -> Result<()> {
        let Some(view) = net.blob(&self.blob) else {
            return Ok(());
        };
        match &mut self.judge {
            None if view.shape.dims().last() == Some(&ROW) => self.tally.add(view.data),
            None => {}
            Some(judge) => {
                let truth = net.blob(&judge.truth);
                let boxes = |truth: &View<'_>| truth.shape.dims().last() == Some(&TRUTH);
                if let Some(truth) = truth.filter(boxes) {
                    self.tally.add(judge.rows(view, truth)?);
                }
            }
        }
        Ok(())
    }
}

impl Judge {
    fn new((truth, classes, background): (&String, u32, u32)) -> Result<Self> {
        let input = |name: &str, row: i64| LayerParameter {
            name: Some(name.to_owned()),
            r#type: Some("Input".to_owned()),
            top: vec![name.to_owned()],
            input_param: Some(InputParameter {
                shape: vec![BlobShape {
                    dim: vec![1, 1, 1, row],
                }],
            }),
            ..LayerParameter::default()
        };
        let judge = LayerParameter {
            name: Some("judge".to_owned()),
            r#type: Some("DetectionEvaluate".to_owned()),
            bottom: vec!["found".to_owned(), "truth".to_owned()],
            top: vec!["rows".to_owned()],
            detection_evaluate_param: Some(DetectionEvaluateParameter {
                num_classes: Some(classes),
                background_label_id: Some(background),
                evaluate_difficult_gt: Some(false),
                ..DetectionEvaluateParameter::default()
            }),
            ..LayerParameter::default()
        };
        let message = NetParameter {
            layer: vec![input("found", 7), input("truth", 8), judge],
            ..NetParameter::default()
        };
        let mut params = Params::new();
        let net = Net::new(&message, &mut params, &NetOptions::default(), &mut Silent)?;
        Ok(Self {
            truth: truth.clone(),
            net,
            params,
        })
    }

    fn rows(&mut self, found: View<'_>, truth: View<'_>) -> Result<&[f32]> {
        let owned = |view: View<'_>| Tensor::new(view.shape.clone(), view.data.to_vec());
        let (found, truth) = (owned(found)?, owned(truth)?);
        self.net
            .set_inputs(&[("found", &found), ("truth", &truth)])?;
        self.net.forward(&mut self.params)?;
        Ok(self.net.blob("rows").map_or(&[], |rows| rows.data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::{self, LoadOptions},
        tensor::Tensor,
    };

    #[test]
    fn who_is_judged_by_whom() {
        let text = |judge: &str| {
            format!(
                "layer {{ name: 'd' type: 'AnnotatedData' top: 'data' top: 'truth' }}
                 layer {{ name: 'o' type: 'DetectionOutput' bottom: 'a' bottom: 'b' bottom: 'c' top: 'out'
                   detection_output_param {{ num_classes: 3 background_label_id: 0 }} }} {judge}"
            )
        };
        let read = |text: &str| {
            load::net_from_text("net", text, LoadOptions::default(), &mut Silent)
                .unwrap()
                .net
        };
        assert_eq!(wanted(read(&text("")).layer.iter()), ["out", "truth"]);
        let judge = "layer { name: 'e' type: 'DetectionEvaluate' bottom: 'out' bottom: 'truth' top: 'eval' }";
        assert_eq!(wanted(read(&text(judge)).layer.iter()), ["eval"]);
        assert!(
            wanted(
                read("layer { name: 'x' type: 'Input' top: 'x' }")
                    .layer
                    .iter()
            )
            .is_empty()
        );
    }

    /// One of two objects of class 1 is found, and something of class 1 that is not there, with a lower score.
    #[test]
    fn detections_without_a_judge() {
        let (truth, out) = ("truth".to_owned(), "out".to_owned());
        let mut running = Running {
            blob: out,
            tally: Tally::default(),
            judge: Some(Judge::new((&truth, 2, 0)).unwrap()),
        };
        let rows = |rows: &[&[f32]]| {
            Tensor::new([1, 1, rows.len(), rows[0].len()], rows.concat()).unwrap()
        };
        let truth = rows(&[
            &[0.0, 1.0, 0.0, 0.1, 0.1, 0.3, 0.3, 0.0],
            &[0.0, 1.0, 0.0, 0.6, 0.6, 0.8, 0.8, 0.0],
        ]);
        let found = rows(&[
            &[0.0, 1.0, 0.9, 0.1, 0.1, 0.3, 0.3],
            &[0.0, 1.0, 0.8, 0.4, 0.1, 0.5, 0.3],
        ]);
        let judge = running.judge.as_mut().unwrap();
        for _ in 0..2 {
            let rows = judge.rows(found.view(), truth.view()).unwrap();
            running.tally.add(rows);
        }
        let mut all = Detections {
            running: Some(vec![running]),
            ..Detections::default()
        };
        let precisions = all.take();
        assert_eq!(precisions[0].classes[0].objects, 4);
        // Two at the top right, two below wrong: precision 1 up to recall 1/2.
        assert_eq!(precisions[0].mean, 0.5);
        assert!(all.take().is_empty());
    }
}
