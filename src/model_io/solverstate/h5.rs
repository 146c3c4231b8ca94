//! The state as HDF5: datasets `iter`, `learned_net`, `current_step` and `history/<i>` as Caffe has them, and
//! `cortado_resume`, the bytes of [`Resume`], which it never asks for.

use std::path::Path;

use prost::Message as _;

use super::{Standing, State, stated, storable};
use crate::{
    error::{Error, Result},
    model_io::{
        atomic_write,
        hdf5::{Content, File, Object, Tree, write},
    },
    schema::Resume,
    tensor::{Shape, Tensor, View},
};

const RESUME: &str = "cortado_resume";

pub(super) fn read(path: &Path) -> Result<State> {
    let file = File::open(path)?;
    let Some(iteration) = file.dataset("iter")? else {
        let error = Error::format("this is no solver state: the HDF5 file has no dataset 'iter'");
        return Err(error.help(if file.root()?.names().any(|name| name == "data") {
            "to start from weights alone, give it as weights (-weights); to resume, give the .solverstate.h5 beside it"
        } else {
            "give a .solverstate.h5, as snapshots leave beside the .caffemodel.h5"
        }));
    };
    // States of before it was kept have none.
    let integer = |name: &str| file.dataset(name)?.map_or(Ok(0), |d| d.integer());
    let current_step = integer("current_step")?;
    let last_event = integer("iter_last_event")?;
    let minimum_loss = match file.dataset("minimum_loss")? {
        Some(loss) => loss.read()?.first().copied(),
        None => None,
    };
    let learned_net = file.dataset("learned_net")?;
    let learned_net = learned_net.map(|d| d.text()).transpose()?;
    let mut history = Vec::new();
    if let Some(Object::Group(group)) = file.find("history")? {
        for i in 0..group.names().count() {
            let Some(Object::Dataset(blob)) = file.get(&group, &i.to_string())? else {
                return Err(
                    Error::format(format!("the state has no blob {i} of its history"))
                        .help("the file is damaged; copy it again"),
                );
            };
            history.push(Tensor {
                shape: blob.shape().clone(),
                data: blob.read()?,
            });
        }
    }
    let resume = match file.dataset(RESUME)? {
        Some(bytes) => Some(Resume::decode(&bytes.raw()?[..]).map_err(|e| {
            Error::format(format!(
                "what the state says beyond Caffe's part is damaged: {e}"
            ))
        })?),
        None => None,
    };
    Ok(State {
        iteration: stated("iteration", iteration.integer()?)?,
        learned_net,
        standing: Standing {
            current_step: stated("step", current_step)?,
            minimum_loss,
            last_event: u64::try_from(last_event).unwrap_or(0),
        },
        history,
        resume,
    })
}

pub(super) fn learned_net(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    file.dataset("learned_net").ok()??.text().ok()
}

/// [`write()`](super::write()) as HDF5.
///
/// # Errors
/// `Io` where the file cannot be written; a file that was there then stays whole.
pub fn write_hdf5(
    path: &Path,
    iteration: u64,
    learned_net: &str,
    standing: Standing,
    history: &[Tensor],
    resume: &Resume,
) -> Result<()> {
    let resume = resume.encode_to_vec();
    let minimum_loss = standing.minimum_loss.map(|loss| (Shape::from([1]), [loss]));
    let mut root = Tree::default();
    root.dataset("iter", Content::Integer(storable(iteration)?))?;
    root.dataset("learned_net", Content::Text(learned_net))?;
    let step = storable(standing.current_step.into())?;
    root.dataset("current_step", Content::Integer(step))?;
    // The names of the forks that have the plateau.
    if let Some((shape, data)) = &minimum_loss {
        let last_event = storable(standing.last_event)?;
        root.dataset("iter_last_event", Content::Integer(last_event))?;
        root.dataset("minimum_loss", Content::Floats(View { shape, data }))?;
    }
    root.dataset(RESUME, Content::Bytes(&resume))?;
    let blobs = root.group("history")?;
    for (i, tensor) in history.iter().enumerate() {
        blobs.dataset(&i.to_string(), Content::Floats(tensor.view()))?;
    }
    atomic_write(path, |out| {
        write(out, &root).map_err(|e| Error::io("write", path, &e))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model_io::solverstate;

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/hdf5")
            .join(name)
    }

    #[test]
    fn states_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.solverstate.h5");
        let state = State {
            iteration: 40,
            learned_net: Some("a_iter_40.caffemodel.h5".into()),
            standing: Standing {
                current_step: 2,
                minimum_loss: Some(0.25),
                last_event: 30,
            },
            // More blobs than names of one digit.
            history: (0..12)
                .map(|i| Tensor::new([2, 1], vec![0.5, i as f32]).unwrap())
                .collect(),
            resume: Some(Resume {
                seed: Some(7),
                losses: vec![1.0, 0.5],
                ..Resume::default()
            }),
        };
        write_hdf5(
            &path,
            state.iteration,
            "a_iter_40.caffemodel.h5",
            state.standing,
            &state.history,
            state.resume.as_ref().unwrap(),
        )
        .unwrap();
        assert_eq!(solverstate::read(&path).unwrap(), state);
        assert_eq!(solverstate::learned_net(&path), state.learned_net);
        let error = write_hdf5(
            &path,
            1 << 40,
            "",
            Standing::default(),
            &[],
            &Resume::default(),
        );
        assert!(error.unwrap_err().message().contains("iteration"));
        assert_eq!(solverstate::read(&path).unwrap(), state);
    }

    #[test]
    fn a_state_of_caffe_has_no_resume_and_what_is_none_is_refused() {
        let state = solverstate::read(&fixture("net.solverstate.h5")).unwrap();
        assert_eq!((state.iteration, state.standing.current_step), (40, 2));
        assert_eq!(state.learned_net.as_deref(), Some("net.caffemodel.h5"));
        let shapes: Vec<_> = state.history.iter().map(|t| t.shape.dims()).collect();
        assert_eq!(shapes, [&[4, 3][..], &[4], &[4]]);
        assert_eq!(state.history[2].data, [-3.0, -2.0, -1.0, 0.0]);
        assert_eq!(state.resume, None);

        let error = solverstate::read(&fixture("net.caffemodel.h5")).unwrap_err();
        assert!(error.to_string().contains("-weights"), "{error}");
        let error = solverstate::read(&fixture("early.h5")).unwrap_err();
        assert!(
            error.to_string().contains("give a .solverstate.h5"),
            "{error}"
        );
        let dir = tempfile::tempdir().unwrap();
        let cut = dir.path().join("cut");
        let bytes = fs::read(fixture("net.solverstate.h5")).unwrap();
        fs::write(&cut, &bytes[..bytes.len() - 9]).unwrap();
        let error = solverstate::read(&cut).unwrap_err();
        assert!(error.message().contains("cut short"), "{error}");
    }
}
