//! Which nets a solver file names: one to train, any number to test.

use std::path::{Path, PathBuf};

use super::SolverOptions;
use crate::{
    error::{Error, Result},
    events::Observer,
    graph::state_of,
    load::{self, NetFile},
    schema::{NetParameter, NetState, Phase, SolverParameter},
};

/// Where a net comes from.
pub(super) enum Source {
    /// A file, as named.
    File(String),
    /// A message in the solver's own.
    Inline(Box<NetParameter>),
}

impl Source {
    /// The file as named; empty for a message.
    pub(super) fn file(&self) -> &str {
        match self {
            Self::File(file) => file,
            Self::Inline(_) => "",
        }
    }

    /// The net in current form, in the state of a phase with `over` laid over it.
    pub(super) fn load(
        &self,
        options: &SolverOptions,
        phase: Phase,
        over: Option<&NetState>,
        observer: &mut dyn Observer,
    ) -> Result<NetFile> {
        let mut file = match self {
            Self::File(file) => load::net(&under(&options.root, file), options.load, observer)?,
            Self::Inline(net) => NetFile::from_message((**net).clone())?,
        };
        file.net.state = Some(state_of(&file.net, phase, over));
        Ok(file)
    }
}

/// Lays level and stages of the options over the state of the training net.
pub(super) fn set_state(param: &mut SolverParameter, options: &SolverOptions) {
    if options.level == 0 && options.stages.is_empty() {
        return;
    }
    let state = param.train_state.get_or_insert_default();
    if options.level != 0 {
        state.level = Some(options.level);
    }
    state.stage.extend(options.stages.iter().cloned());
}

/// Writes weights of classes into the losses of these names.
pub(super) fn weigh(net: &mut NetParameter, weights: &[(String, Vec<f32>)]) {
    for layer in &mut net.layer {
        let of_layer = weights.iter().find(|(name, _)| name == layer.name());
        if let Some((_, weights)) = of_layer.filter(|_| !layer.bottom.is_empty()) {
            let loss = layer.loss_param.get_or_insert_default();
            loss.weight_by_label_freqs = Some(true);
            loss.class_weighting.clone_from(weights);
        }
    }
}

/// A path of the solver, seen from the root.
pub(super) fn under(root: &Path, path: &str) -> PathBuf {
    if root.as_os_str().is_empty() {
        PathBuf::from(path)
    } else {
        root.join(path)
    }
}

fn file(name: &str) -> Source {
    Source::File(name.to_owned())
}

fn inline(net: &NetParameter) -> Source {
    Source::Inline(Box::new(net.clone()))
}

/// The net to train.
///
/// # Errors
/// `Param` unless exactly one of `net`, `net_param`, `train_net`, `train_net_param` is set.
pub(super) fn train(param: &SolverParameter) -> Result<Source> {
    let mut found: Vec<(&str, Source)> = Vec::new();
    for (field, name) in [("net", &param.net), ("train_net", &param.train_net)] {
        found.extend(name.iter().map(|name| (field, file(name))));
    }
    for (field, net) in [
        ("net_param", &param.net_param),
        ("train_net_param", &param.train_net_param),
    ] {
        found.extend(net.iter().map(|net| (field, inline(net))));
    }
    if let [(first, _), (second, _), ..] = &found[..] {
        return Err(
            Error::param(second, format!("names a net to train, and so does {first}"))
                .help("keep one of net, net_param, train_net, train_net_param"),
        );
    }
    found.pop().map(|(_, source)| source).ok_or_else(|| {
        Error::param("net", "is missing: the solver names no net to train").help(
            "set net: \"train_val.prototxt\" (or one of net_param, train_net, train_net_param)",
        )
    })
}

/// The nets to test, in Caffe's order: `test_net_param`, `test_net`, then `net` or `net_param` once for each
/// `test_iter` that is left.
///
/// # Errors
/// `Param` where the numbers of nets, `test_iter` and `test_state` do not fit, or `test_interval` is missing.
pub(super) fn test(param: &SolverParameter) -> Result<Vec<Source>> {
    let mut nets: Vec<Source> = param.test_net_param.iter().map(inline).collect();
    nets.extend(param.test_net.iter().map(|name| file(name)));
    let iters = param.test_iter.len();
    let generic = match (&param.net, &param.net_param) {
        (Some(name), _) => Some(file(name)),
        (None, Some(net)) => Some(inline(net)),
        (None, None) => None,
    };
    let fits = match generic {
        Some(_) => iters >= nets.len(),
        None => iters == nets.len(),
    };
    if !fits {
        return Err(Error::param(
            "test_iter",
            format!("given {iters} times for {} test nets", nets.len()),
        )
        .help("give test_iter once for each test net, in their order"));
    }
    if let Some(generic) = generic {
        while nets.len() < iters {
            nets.push(match &generic {
                Source::File(name) => file(name),
                Source::Inline(net) => Source::Inline(net.clone()),
            });
        }
    }
    let states = param.test_state.len();
    if states != 0 && states != nets.len() {
        return Err(Error::param(
            "test_state",
            format!("given {states} times for {} test nets", nets.len()),
        )
        .help("leave it out, or give it once for each test net"));
    }
    if let Some(&bad) = param.test_iter.iter().find(|&&n| n < 0) {
        return Err(Error::param(
            "test_iter",
            format!("is {bad}, must not be below 0"),
        ));
    }
    if !nets.is_empty() && param.test_interval() <= 0 {
        return Err(Error::param(
            "test_interval",
            "is missing, or not above 0, while there are test nets",
        )
        .help("say after how many iterations to test, or drop test_iter"));
    }
    Ok(nets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(nets: &[Source]) -> Vec<&str> {
        nets.iter().map(Source::file).collect()
    }

    #[test]
    fn exactly_one_net_to_train() {
        let mut param = SolverParameter::default();
        assert_eq!(train(&param).err().unwrap().field(), Some("net"));
        param.net = Some("a".into());
        assert_eq!(train(&param).unwrap().file(), "a");
        param.train_net_param = Some(NetParameter::default());
        let error = train(&param).err().unwrap();
        assert!(error.message().contains("train_net_param"), "{error}");
    }

    #[test]
    fn weights_go_before_those_of_the_file() {
        let mut net = crate::load::net_from_text(
            "net",
            "layer { name: 'a' type: 'SoftmaxWithLoss' bottom: 'x' bottom: 'y' loss_param { class_weighting: 7 ignore_label: 3 } }
             layer { name: 'b' type: 'SoftmaxWithLoss' bottom: 'x' bottom: 'y' }",
            crate::load::LoadOptions::default(),
            &mut crate::events::Silent,
        )
        .unwrap()
        .net;
        weigh(&mut net, &[("a".to_owned(), vec![1.0, 2.0])]);
        let loss = net.layer[0].loss_param.as_ref().unwrap();
        assert_eq!(loss.class_weighting, [1.0, 2.0]);
        assert!(loss.weight_by_label_freqs());
        assert_eq!(loss.ignore_label, Some(3));
        assert_eq!(net.layer[1].loss_param, None);
    }

    #[test]
    fn test_nets_in_order_and_the_net_for_the_rest() {
        let mut param = SolverParameter {
            net: Some("n".into()),
            test_net: vec!["a".into(), "b".into()],
            test_net_param: vec![NetParameter::default()],
            test_iter: vec![1; 5],
            test_interval: Some(1),
            ..Default::default()
        };
        assert_eq!(names(&test(&param).unwrap()), ["", "a", "b", "n", "n"]);
        param.test_state = vec![NetState::default(); 2];
        assert_eq!(test(&param).err().unwrap().field(), Some("test_state"));
        param.test_state.clear();
        param.test_interval = None;
        assert_eq!(test(&param).err().unwrap().field(), Some("test_interval"));
        param.test_iter.truncate(2);
        assert_eq!(test(&param).err().unwrap().field(), Some("test_iter"));
        param.test_iter.clear();
        param.test_net.clear();
        param.test_net_param.clear();
        assert!(test(&param).unwrap().is_empty());
    }
}
