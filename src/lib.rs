#![doc = include_str!("../ARCHITECTURE.md")]
//!
//! # The library in short
//!
//! Load a net, lend it parameters, set an input, run it, read a blob:
//!
//! ```
//! use cortado::{Keep, Net, NetOptions, Params, Silent, Tensor, load};
//!
//! let file = load::net_from_text(
//!     "mini.prototxt",
//!     r#"
//!     layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }
//!     layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
//!             inner_product_param { num_output: 1 weight_filler { type: "constant" value: 3 } } }
//!     "#,
//!     load::LoadOptions::default(),
//!     &mut Silent,
//! )?;
//! let mut params = Params::new();
//! let options = NetOptions { keep: Keep::All, ..NetOptions::default() };
//! let mut net = Net::new(&file.net, &mut params, &options, &mut Silent)?;
//!
//! net.set_input("data", &Tensor::new([1, 2], vec![1.0, 10.0])?)?;
//! net.forward(&mut params)?;
//! let ip = net.blob("ip").expect("every blob is kept");
//! assert_eq!(ip.data, [33.0]);
//! # Ok::<(), cortado::Error>(())
//! ```
//!
//! Weights come from a `.caffemodel`, by layer name:
//!
//! ```no_run
//! # use cortado::{Net, NetOptions, Params, Silent, load};
//! use cortado::model_io::caffemodel;
//! use std::path::Path;
//!
//! # let file = load::net(Path::new("deploy.prototxt"), load::LoadOptions::default(), &mut Silent)?;
//! # let mut params = Params::new();
//! # let mut net = Net::new(&file.net, &mut params, &NetOptions::default(), &mut Silent)?;
//! let model = caffemodel::Weights::open(Path::new("net.caffemodel"))?;
//! let report = model.load(&net, &mut params)?;
//! println!("{} blobs copied, not in the file: {:?}", report.copied, report.untouched);
//! # Ok::<(), cortado::Error>(())
//! ```
//!
//! Gradients are by every blob and parameter:
//!
//! ```
//! # use cortado::{Keep, Net, NetOptions, Params, Silent, Tensor, load};
//! let file = load::net_from_text(
//!     "mini.prototxt",
//!     r#"
//!     force_backward: true
//!     layer { name: "data" type: "Input" top: "data" top: "target" input_param { shape { dim: 1 dim: 2 } } }
//!     layer { name: "loss" type: "EuclideanLoss" bottom: "data" bottom: "target" top: "loss" }
//!     "#,
//!     load::LoadOptions::default(),
//!     &mut Silent,
//! )?;
//! let mut params = Params::new();
//! let options = NetOptions { keep: Keep::All, backward: true, ..NetOptions::default() };
//! let mut net = Net::new(&file.net, &mut params, &options, &mut Silent)?;
//!
//! net.set_inputs(&[
//!     ("data", &Tensor::new([1, 2], vec![3.0, 5.0])?),
//!     ("target", &Tensor::new([1, 2], vec![1.0, 5.0])?),
//! ])?;
//! let loss = net.forward(&mut params)?;
//! net.backward(&mut params)?;
//! assert_eq!(loss, 2.0);
//! assert_eq!(net.diff("data").expect("every diff is kept").data, [2.0, 0.0]);
//! # Ok::<(), cortado::Error>(())
//! ```
//!
//! Training is a solver's message, and an observer that hears what happens:
//!
//! ```
//! use cortado::{Action, Event, Solver, SolverOptions, load};
//!
//! let param = load::solver_from_text(
//!     "solver.prototxt",
//!     r#"
//!     net_param {
//!       layer { name: "data" type: "DummyData" top: "x" top: "y"
//!               dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 1 }
//!                                  data_filler { value: 1 } data_filler { value: 6 } } }
//!       layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 1 } }
//!       layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "y" top: "loss" }
//!     }
//!     base_lr: 0.1 lr_policy: "fixed" max_iter: 50 display: 10 random_seed: 1
//!     snapshot_after_train: false
//!     "#,
//!     load::LoadOptions::default(),
//!     &mut cortado::Silent,
//! )?;
//! let mut losses = Vec::new();
//! let mut observer = |event: &Event<'_>| {
//!     if let Event::Iteration { loss, .. } = event {
//!         losses.push(*loss);
//!     }
//! };
//! let mut solver = Solver::new(param, SolverOptions::default(), &mut observer)?;
//! solver.solve(&mut || Action::Continue, &mut observer)?;
//! assert!(losses[0] > 10.0 && losses[4] < 0.01);
//! # Ok::<(), cortado::Error>(())
//! ```

pub mod anatomy;
pub mod check;
pub mod cli;
pub mod dashboard;
pub mod database;
pub mod deploy;
pub mod doctor;
pub mod error;
pub mod events;
pub mod feed;
pub mod filler;
pub mod graph;
pub mod journal;
pub mod kernels;
pub mod layer;
pub mod layers;
pub mod load;
pub mod memory;
pub mod metrics;
pub mod model_io;
pub mod nearest;
pub mod net;
pub mod number;
pub mod onnx;
pub mod optimize;
pub mod params;
pub mod report;
pub mod rng;
pub mod schema;
pub mod solver;
pub mod tensor;
pub mod text;
pub mod threads;
pub mod upgrade;
pub mod watch;

pub use error::{Error, ErrorKind, Place, Result};
pub use events::{Event, Observer, Silent};
pub use net::{Keep, Net, NetOptions};
pub use params::{Param, Params};
pub use solver::{Action, Outcome, Solver, SolverOptions};
pub use tensor::{Shape, Tensor, View, ViewMut};
