//! What the tests of layers share: a bench that runs one layer as the executor would, and the checks of the contract.
//!
//! A bench is unkind on purpose: tops, bottom diffs and workspace hold NaN before each pass, gradients of parameters
//! start away from zero, and backward sees only the data that the layer declares.

use super::{Arity, Sharing};
use super::{Backward, Forward, InPlace, InPlaceBackward, Layer, LayerDef, LayerType, Role, Setup};
use crate::{
    error::Result,
    filler,
    params::Param,
    rng::{Use, stream},
    schema::{LayerParameter, Phase},
    tensor::{Shape, Tensor, View, ViewMut},
    text::{self, Source},
    threads::with_threads,
};

const SEED: u64 = 1;

/// A tensor of these extents and elements.
pub(crate) fn tensor(dims: &[usize], data: &[f32]) -> Tensor {
    Tensor::new(Shape::new(dims), data.to_vec()).expect("a test's tensor fits its shape")
}

/// A tensor of values in [-1, 1), the same for the same seed.
pub(crate) fn noise(dims: &[usize], seed: u64) -> Tensor {
    let shape = Shape::new(dims);
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let data = (0..shape.count())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    Tensor { shape, data }
}

/// `options` and those of `defaults` (each `name: value` or `name { … }`) that they do not name.
pub(crate) fn fields(defaults: &[&str], options: &str) -> String {
    let name = |text: &str| text.split([':', ' ']).next().map(str::to_owned);
    let named: Vec<_> = options.split_whitespace().map(name).collect();
    let left = defaults.iter().filter(|d| !named.contains(&name(d)));
    let all: Vec<&str> = left.copied().chain([options]).collect();
    all.join(" ")
}

/// Panics where the two differ by more than `tol`, absolutely for small values and relatively for large ones.
#[track_caller]
pub(crate) fn assert_close(got: &[f32], want: &[f32], tol: f32) {
    assert_eq!(got.len(), want.len(), "length");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            (g - w).abs() <= tol * w.abs().max(1.0),
            "[{i}] is {g}, expected {w}; all: {got:?}"
        );
    }
}

/// One layer with its bottoms, tops and parameters.
pub(crate) struct Bench {
    /// Its row of the table.
    pub(crate) kind: &'static LayerType,
    /// The layer.
    pub(crate) layer: Box<dyn Layer>,
    /// What it reads; change values freely, shapes through [`Bench::set_bottom`].
    pub(crate) bottoms: Vec<Tensor>,
    /// What forward wrote.
    pub(crate) tops: Vec<Tensor>,
    /// Its parameters, filled as the text says.
    pub(crate) params: Vec<Param>,
    /// Numbers the random stream of forward.
    pub(crate) pass: u64,
}

/// What backward gave.
pub(crate) struct Gradients {
    /// By bottom; `None` where not wanted.
    pub(crate) bottoms: Vec<Option<Tensor>>,
    /// By parameter, from zero.
    pub(crate) params: Vec<Vec<f32>>,
}

impl Bench {
    /// The layer of a text, on these bottoms. The text holds the fields of one layer (`type: "Concat" concat_param {
    /// axis: 2 }`); names are not needed, and tops only where the type allows several counts: then as few as possible
    /// unless told. The phase is TRAIN unless the text has `phase: TEST`.
    ///
    /// # Errors
    /// What `build`, `setup` or `reshape` of the layer say.
    pub(crate) fn try_new(text: &str, bottoms: &[Tensor]) -> Result<Self> {
        let source = Source::new("test", text);
        let mut param = text::parse::<LayerParameter>("LayerParameter", &source)?.message;
        let kind = crate::layers::of(&param)?;
        param.bottom = (0..bottoms.len()).map(|i| format!("bottom{i}")).collect();
        if param.top.is_empty() {
            let tops = match kind.tops {
                Arity::LikeBottoms => bottoms.len(),
                other => other.least(),
            };
            param.top = (0..tops).map(|i| format!("top{i}")).collect();
        }
        let (tops, phase) = (
            param.top.len(),
            param.phase.map_or(Phase::Train, |_| param.phase()),
        );
        assert!(kind.bottoms.allows(bottoms.len(), bottoms.len()), "bottoms");
        assert!(kind.tops.allows(tops, bottoms.len()), "tops");
        let mut layer = (kind.build)(&LayerDef {
            param,
            phase,
            backward: true,
            root: std::path::PathBuf::new(),
            seed: SEED,
            index: 0,
        })?;
        let shapes: Vec<Shape> = bottoms.iter().map(|b| b.shape.clone()).collect();
        let mut setup = Setup {
            bottoms: &shapes,
            declared: Vec::new(),
        };
        layer.setup(&mut setup)?;
        let declared = setup.declared;
        let mut params = Vec::new();
        for (i, decl) in declared.into_iter().enumerate() {
            let mut value = Tensor::zeros(decl.shape);
            let mut rng = stream(SEED, Use::Filler, 0, i as u64);
            filler::fill(&decl.filler, &mut value, &mut rng)?;
            let learns = !(decl.statistic || decl.fixed);
            params.push(Param {
                grad: vec![0.0; if learns { value.data.len() } else { 0 }],
                value,
                lr_mult: if learns { 1.0 } else { 0.0 },
                decay_mult: 1.0,
            });
        }
        let tops: Vec<Tensor> = layer
            .reshape(&shapes)?
            .into_iter()
            .map(Tensor::zeros)
            .collect();
        Ok(Self {
            kind,
            layer,
            bottoms: bottoms.to_vec(),
            tops,
            params,
            pass: 0,
        })
    }

    /// [`Bench::try_new`] where it must succeed.
    #[track_caller]
    pub(crate) fn new(text: &str, bottoms: &[Tensor]) -> Self {
        match Self::try_new(text, bottoms) {
            Ok(bench) => bench,
            Err(error) => panic!("{error}"),
        }
    }

    /// Sets the values of a parameter.
    #[track_caller]
    pub(crate) fn param(mut self, index: usize, data: &[f32]) -> Self {
        self.params[index].value.data.copy_from_slice(data);
        self
    }

    /// Sets a bottom and reshapes.
    ///
    /// # Errors
    /// Of the layer's `reshape`.
    pub(crate) fn set_bottom(&mut self, index: usize, bottom: Tensor) -> Result<()> {
        self.bottoms[index] = bottom;
        let shapes: Vec<Shape> = self.bottoms.iter().map(|b| b.shape.clone()).collect();
        self.tops = self
            .layer
            .reshape(&shapes)?
            .into_iter()
            .map(Tensor::zeros)
            .collect();
        Ok(())
    }

    fn workspace(&self) -> Vec<f32> {
        vec![f32::NAN; self.layer.traits().workspace]
    }

    /// Runs forward; tops are in `tops` afterwards.
    ///
    /// # Errors
    /// Of the layer.
    pub(crate) fn try_forward(&mut self) -> Result<()> {
        if self.layer.traits().sharing == Sharing::Alias {
            for top in &mut self.tops {
                top.data.clone_from(&self.bottoms[0].data);
                assert_eq!(
                    top.shape.count(),
                    top.data.len(),
                    "an alias has its bottom's count"
                );
            }
            return Ok(());
        }
        let bottoms: Vec<View<'_>> = self.bottoms.iter().map(Tensor::view).collect();
        if self.layer.traits().moving
            && let Some(shapes) = self.layer.incoming_shapes(&bottoms)?
        {
            self.tops = shapes.into_iter().map(Tensor::zeros).collect();
        }
        let mut workspace = self.workspace();
        let mut tops: Vec<ViewMut<'_>> = self.tops.iter_mut().map(blank).collect();
        self.layer.forward(&mut Forward {
            bottoms: &bottoms,
            tops: &mut tops,
            params: &mut self.params,
            workspace: &mut workspace,
            rng: &mut stream(SEED, Use::Forward, 0, self.pass),
        })
    }

    /// [`Bench::try_forward`] where it must succeed; the data of the first top.
    #[track_caller]
    pub(crate) fn forward(&mut self) -> &[f32] {
        if let Err(error) = self.try_forward() {
            panic!("{error}");
        }
        self.tops.first().map_or(&[], |top| &top.data)
    }

    /// Runs backward from these top diffs, after forward. `wanted` are the bottoms that want a gradient.
    ///
    /// # Errors
    /// Of the layer.
    pub(crate) fn try_backward(
        &mut self,
        top_diffs: &[Option<Tensor>],
        wanted: &[usize],
    ) -> Result<Gradients> {
        let traits = self.layer.traits();
        let mut diffs: Vec<Option<Tensor>> = (0..self.bottoms.len())
            .map(|i| {
                wanted
                    .contains(&i)
                    .then(|| Tensor::zeros(self.bottoms[i].shape.clone()))
            })
            .collect();
        if traits.sharing == Sharing::Alias && self.tops.len() == 1 {
            if let (Some(dx), Some(dy)) = (&mut diffs[0], &top_diffs[0]) {
                dx.data.clone_from(&dy.data);
            }
            return Ok(Gradients {
                bottoms: diffs,
                params: Vec::new(),
            });
        }
        const START: f32 = 1.0;
        for param in &mut self.params {
            param.grad.fill(START);
        }
        let mut workspace = self.workspace();
        let bottoms = views(&self.bottoms, traits.backward_reads.bottoms);
        let tops = views(&self.tops, traits.backward_reads.tops);
        let top_diffs: Vec<_> = top_diffs
            .iter()
            .map(|d| d.as_ref().map(Tensor::view))
            .collect();
        let mut bottom_diffs: Vec<_> = diffs.iter_mut().map(|d| d.as_mut().map(blank)).collect();
        self.layer.backward(&mut Backward {
            bottoms: &bottoms,
            tops: &tops,
            top_diffs: &top_diffs,
            bottom_diffs: &mut bottom_diffs,
            params: &mut self.params,
            workspace: &mut workspace,
        })?;
        let params = self
            .params
            .iter()
            .map(|p| p.grad.iter().map(|g| g - START).collect())
            .collect();
        Ok(Gradients {
            bottoms: diffs,
            params,
        })
    }

    /// [`Bench::try_backward`] where it must succeed; `top_diff` is that of the first top, other tops have none.
    #[track_caller]
    pub(crate) fn backward(&mut self, top_diff: &[f32], wanted: &[usize]) -> Gradients {
        let mut diffs = vec![None; self.tops.len()];
        diffs[0] = Some(tensor(self.tops[0].shape.dims(), top_diff));
        match self.try_backward(&diffs, wanted) {
            Ok(gradients) => gradients,
            Err(error) => panic!("{error}"),
        }
    }

    /// Random diffs for the tops that have a gradient: all, or the first one of a loss.
    fn top_weights(&self) -> Vec<Option<Tensor>> {
        (0u64..)
            .zip(&self.tops)
            .map(|(i, top)| {
                (i == 0 || self.kind.role != Role::Loss).then(|| noise(top.shape.dims(), 1000 + i))
            })
            .collect()
    }

    fn objective(&mut self, weights: &[Option<Tensor>]) -> f64 {
        self.forward();
        let mut sum = 0.0;
        for (top, weights) in self.tops.iter().zip(weights) {
            let weights = weights.iter().flat_map(|w| &w.data);
            for (&y, &w) in top.data.iter().zip(weights) {
                sum += f64::from(y) * f64::from(w);
            }
        }
        sum
    }

    /// Compares backward with central differences of Σ wᵢ·topᵢ for random w, element by element, for these bottoms and
    /// parameters. Two figures may differ by `tolerance`, relatively where they are above 1, as in Caffe's own checker.
    /// Inputs must stay farther than `step` from kinks and ties.
    #[track_caller]
    pub(crate) fn check_gradient_to(
        &mut self,
        wanted: &[usize],
        params: &[usize],
        step: f32,
        tolerance: f64,
    ) {
        let weights = self.top_weights();
        self.forward();
        let got = match self.try_backward(&weights, wanted) {
            Ok(got) => got,
            Err(error) => panic!("{error}"),
        };
        let mut targets: Vec<(bool, usize, &[f32])> = Vec::new();
        for &b in wanted {
            targets.push((true, b, &got.bottoms[b].as_ref().expect("wanted").data));
        }
        for &p in params {
            targets.push((false, p, &got.params[p]));
        }
        for (bottom, index, got) in targets {
            for (i, &got) in got.iter().enumerate() {
                let at = |bench: &mut Self, x: Option<f32>| {
                    let slot = if bottom {
                        &mut bench.bottoms[index].data[i]
                    } else {
                        &mut bench.params[index].value.data[i]
                    };
                    std::mem::replace(slot, x.unwrap_or(*slot))
                };
                let x = at(self, None);
                at(self, Some(x + step));
                let above = self.objective(&weights);
                at(self, Some(x - step));
                let below = self.objective(&weights);
                at(self, Some(x));
                let want = (above - below) / (f64::from(x + step) - f64::from(x - step));
                let got = f64::from(got);
                let scale = want.abs().max(got.abs()).max(1.0);
                assert!(
                    (want - got).abs() <= tolerance * scale,
                    "{} {index}, element {i}: backward says {got}, differences say {want}",
                    if bottom { "bottom" } else { "parameter" }
                );
            }
        }
    }

    /// In place gives the same bits as separate buffers, forward and backward.
    #[track_caller]
    pub(crate) fn check_in_place(&mut self) {
        let traits = self.layer.traits();
        assert_eq!(traits.sharing, Sharing::InPlace);
        self.forward();
        let dy = noise(self.tops[0].shape.dims(), 1000);
        let want = self.backward(&dy.data, &[0]);
        let shape = self.bottoms[0].shape.clone();
        let mut data = self.bottoms[0].data.clone();
        let mut workspace = self.workspace();
        self.layer
            .forward_in_place(&mut InPlace {
                data: ViewMut {
                    shape: &shape,
                    data: &mut data,
                },
                params: &mut self.params,
                workspace: &mut workspace,
                rng: &mut stream(SEED, Use::Forward, 0, self.pass),
            })
            .unwrap();
        assert_eq!(data, self.tops[0].data, "forward in place");
        let mut diff = dy.data;
        self.layer
            .backward_in_place(&mut InPlaceBackward {
                bottom: traits
                    .backward_reads
                    .bottoms
                    .then(|| self.bottoms[0].view()),
                top: traits.backward_reads.tops.then(|| self.tops[0].view()),
                diff: ViewMut {
                    shape: &shape,
                    data: &mut diff,
                },
                params: &mut self.params,
                workspace: &mut workspace,
            })
            .unwrap();
        assert_eq!(
            Some(&diff),
            want.bottoms[0].as_ref().map(|d| &d.data),
            "backward in place"
        );
    }
}

fn views(tensors: &[Tensor], on: bool) -> Vec<Option<View<'_>>> {
    tensors.iter().map(|t| on.then(|| t.view())).collect()
}

/// Fills with NaN: whatever is not written shows.
fn blank(tensor: &mut Tensor) -> ViewMut<'_> {
    tensor.data.fill(f32::NAN);
    ViewMut {
        shape: &tensor.shape,
        data: &mut tensor.data,
    }
}

/// [`Bench::check_gradient_to`] with the usual step and tolerance, on a new bench.
#[track_caller]
pub(crate) fn check_gradient(text: &str, inputs: &[Tensor], wanted: &[usize], params: &[usize]) {
    Bench::new(text, inputs).check_gradient_to(wanted, params, 1e-2, 1e-3);
}

/// Forward and backward give the same bits with 1, 2 and 3 threads. Take inputs large enough to be split.
#[track_caller]
pub(crate) fn check_threads(text: &str, inputs: &[Tensor], wanted: &[usize]) {
    let run = || {
        let mut bench = Bench::new(text, inputs);
        bench.forward();
        let weights = bench.top_weights();
        let gradients = bench.try_backward(&weights, wanted).unwrap();
        let tops = bench.tops.iter().map(|t| &t.data);
        let diffs = gradients.bottoms.iter().flatten().map(|t| &t.data);
        let all = tops.chain(diffs).chain(&gradients.params).flatten();
        all.map(|x| x.to_bits()).collect::<Vec<u32>>()
    };
    let one = with_threads(1, run).unwrap();
    for n in [2, 3] {
        assert!(
            with_threads(n, run).unwrap() == one,
            "1 and {n} threads differ"
        );
    }
}

/// The error of building a layer or of its first forward pass, as text with its help. Panics where there is none.
#[track_caller]
pub(crate) fn error_of(text: &str, bottoms: &[Tensor]) -> String {
    match Bench::try_new(text, bottoms).and_then(|mut bench| bench.try_forward()) {
        Ok(()) => panic!("no error from {text}"),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_wise_layer_runs() {
        let mut bench = Bench::new("type: 'ReLU'", &[tensor(&[3], &[-1.0, 2.0, 0.5])]);
        assert_eq!(bench.forward(), [0.0, 2.0, 0.5]);
        let gradients = bench.backward(&[1.0, 2.0, 3.0], &[0]);
        assert_eq!(gradients.bottoms[0].as_ref().unwrap().data, [0.0, 2.0, 3.0]);
        bench.check_in_place();
    }

    #[test]
    fn gradients_are_checked() {
        check_gradient("type: 'TanH'", &[noise(&[2, 3], 1)], &[0], &[]);
        check_threads("type: 'TanH'", &[noise(&[2, 3], 1)], &[0]);
    }

    #[test]
    #[should_panic(expected = "differences say")]
    fn a_wrong_gradient_is_found() {
        // A kink within the step: differences see half of it.
        check_gradient("type: 'ReLU'", &[tensor(&[1], &[0.001])], &[0], &[]);
    }

    #[test]
    fn aliases_copy() {
        let mut bench = Bench::new("type: 'Split' top: 'a' top: 'b'", &[noise(&[4], 1)]);
        bench.forward();
        assert_eq!(bench.tops[1].data, bench.bottoms[0].data);
        let dy = Some(tensor(&[4], &[1.0; 4]));
        let gradients = bench.try_backward(&[dy.clone(), dy], &[0]).unwrap();
        assert_eq!(gradients.bottoms[0].as_ref().unwrap().data, [2.0; 4]);
    }
}
