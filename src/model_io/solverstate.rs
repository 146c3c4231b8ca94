//! The state of a solver: `.solverstate`, Caffe's `SolverState`, and beside it, under a field number that Caffe skips,
//! what it takes to go on bit for bit; and `.solverstate.h5`, where that has a name which Caffe does not look for.

use std::{fs, io, path::Path};

use prost::Message as _;

use super::{
    atomic_write,
    binaryproto::{disagree, shape_of, to_tensor},
    caffemodel::detect,
    foreign::{Looks, looks},
    skim::{Part, Skimmed},
    stream,
};
use crate::{
    error::{Error, Place, Result},
    schema::{Resume, SolverState, SolverStateExtra},
    tensor::Tensor,
};

mod h5;

pub use h5::write_hdf5;

/// Where the schedule of a solver's rate stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// Drops of a stepwise rate so far.
    pub current_step: u32,
    /// Of plateau: the lowest smoothed loss so far.
    pub minimum_loss: Option<f32>,
    /// Of plateau: the iteration of that loss, or of the drop after it.
    pub last_event: u64,
}

/// What a state file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Iterations done.
    pub iteration: u64,
    /// The file of weights saved with it, as its writer named it.
    pub learned_net: Option<String>,
    /// Where the schedule of the rate stands.
    pub standing: Standing,
    /// The solver's history: one blob a parameter, or several times that.
    pub history: Vec<Tensor>,
    /// What Caffe does not keep; `None` in files that Caffe wrote.
    pub resume: Option<Resume>,
}

/// Reads a state file, Caffe's or one of [`write()`].
///
/// # Errors
/// `Io` where the file cannot be read; `Format` where it is cut short, damaged or something else, saying what.
pub fn read(path: &Path) -> Result<State> {
    let failed = |e: io::Error| Error::io("read", path, &e);
    let placed = |e: Error| e.at(Place::File(path.display().to_string()));
    if detect(path).map_err(failed)? {
        return h5::read(path).map_err(placed);
    }
    // The history goes straight to where it belongs; memory never holds it twice.
    if let Some(numbers) = Skimmed::open(path, BLOBS_OF).map_err(failed)?
        && let Some((state, extra)) = messages(&numbers.message)
        && !state.history.is_empty()
    {
        let history = state.history.iter().map(|blob| {
            let shape = shape_of(blob)?;
            match numbers.count(blob) {
                n if n == shape.count() => Ok(Tensor::zeros(shape)),
                n => Err(disagree(&shape, n)),
            }
        });
        let mut history: Vec<Tensor> = history.collect::<Result<_>>().map_err(placed)?;
        let places = history.iter_mut().map(|t| &mut t.data[..]);
        numbers
            .read(state.history.iter().zip(places).collect())
            .map_err(failed)?;
        return state_of(state, extra, history).map_err(placed);
    }
    let bytes = fs::read(path).map_err(failed)?;
    decode(&bytes).map_err(placed)
}

/// The file of weights that a state names, where it can be had without much ado.
pub fn learned_net(path: &Path) -> Option<String> {
    if detect(path).ok()? {
        return h5::learned_net(path);
    }
    let numbers = Skimmed::open(path, BLOBS_OF).ok()??;
    messages(&numbers.message)?.0.learned_net
}

/// Where the blobs of a `SolverState` are.
const BLOBS_OF: &[(u32, Part)] = &[(HISTORY, Part::Blob)];

fn messages(bytes: &[u8]) -> Option<(SolverState, SolverStateExtra)> {
    let state = SolverState::decode(bytes).ok()?;
    let extra = SolverStateExtra::decode(bytes).ok()?;
    state.iter.is_some().then_some((state, extra))
}

/// [`read`] from the bytes of the file.
///
/// # Errors
/// `Format` as in [`read`].
pub fn decode(bytes: &[u8]) -> Result<State> {
    let (mut state, extra) = messages(bytes).ok_or_else(|| foreign(bytes))?;
    // A blob decodes as a state, because its first field is a number too.
    if state.history.is_empty() && looks(bytes) == Looks::Blob {
        return Err(foreign(bytes));
    }
    let history = std::mem::take(&mut state.history);
    let history = history.into_iter().map(to_tensor).collect::<Result<_>>()?;
    state_of(state, extra, history)
}

fn state_of(state: SolverState, extra: SolverStateExtra, history: Vec<Tensor>) -> Result<State> {
    Ok(State {
        iteration: stated("iteration", state.iter().into())?,
        standing: Standing {
            current_step: stated("step", state.current_step().into())?,
            minimum_loss: state.minimum_loss,
            last_event: u64::try_from(state.iter_last_event()).unwrap_or(0),
        },
        learned_net: state.learned_net,
        history,
        resume: extra.resume,
    })
}

/// A number of a state, where it makes sense.
fn stated<T: TryFrom<i64>>(what: &str, n: i64) -> Result<T> {
    T::try_from(n).map_err(|_| {
        Error::format(format!("the state says {what} {n}")).help("the file is damaged")
    })
}

/// A number as state files hold it.
fn storable(n: u64) -> Result<i32> {
    i32::try_from(n).map_err(|_| Error::format(format!("a state file cannot hold iteration {n}")))
}

fn foreign(bytes: &[u8]) -> Error {
    let looks = looks(bytes);
    Error::format(format!(
        "this is no solver state: the file {}",
        looks.words(bytes.len())
    ))
    .help(match looks {
        Looks::Model => {
            "to start from weights alone, give it as weights (-weights); to resume, give the .solverstate beside it"
        }
        Looks::Empty | Looks::Cut { .. } => {
            "the copy or the snapshot was interrupted; copy it again or take an earlier one"
        }
        _ => "give a .solverstate, as snapshots leave beside the .caffemodel",
    })
}

/// Writes a state file that Caffe reads too. `history` is borrowed, not copied.
///
/// # Errors
/// `Io` where the file cannot be written; a file that was there then stays whole.
pub fn write(
    path: &Path,
    iteration: u64,
    learned_net: &str,
    standing: Standing,
    history: &[Tensor],
    resume: Resume,
) -> Result<()> {
    let state = SolverState {
        iter: Some(storable(iteration)?),
        learned_net: Some(learned_net.to_owned()),
        history: Vec::new(),
        current_step: Some(storable(standing.current_step.into())?),
        minimum_loss: standing.minimum_loss,
        iter_last_event: match standing.minimum_loss {
            Some(_) => Some(storable(standing.last_event)?),
            None => None,
        },
    };
    let extra = SolverStateExtra {
        resume: Some(resume),
    };
    atomic_write(path, |out| {
        encode(out, &state, history, &extra).map_err(|e| Error::io("write", path, &e))
    })
}

/// Field number of `SolverState.history`.
const HISTORY: u32 = 3;

fn encode(
    out: &mut impl io::Write,
    state: &SolverState,
    history: &[Tensor],
    extra: &SolverStateExtra,
) -> io::Result<()> {
    out.write_all(&state.encode_to_vec())?;
    for tensor in history {
        stream::write_blob(out, HISTORY, tensor.view(), &[])?;
    }
    out.write_all(&extra.encode_to_vec())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn written() -> (State, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.solverstate");
        let state = State {
            iteration: 40,
            learned_net: Some("a_iter_40.caffemodel".into()),
            standing: Standing {
                current_step: 2,
                minimum_loss: Some(0.25),
                last_event: 31,
            },
            history: vec![
                Tensor::new([2, 1], vec![0.5, -1.0]).unwrap(),
                Tensor::new([1], vec![0.0]).unwrap(),
            ],
            resume: Some(Resume {
                seed: Some(7),
                losses: vec![1.0, 0.5],
                ..Resume::default()
            }),
        };
        write(
            &path,
            state.iteration,
            "a_iter_40.caffemodel",
            state.standing,
            &state.history,
            state.resume.clone().unwrap(),
        )
        .unwrap();
        (state, fs::read(path).unwrap())
    }

    #[test]
    fn states_round_trip_and_caffe_reads_its_part() {
        let (state, bytes) = written();
        assert_eq!(decode(&bytes).unwrap(), state);
        let caffe = SolverState::decode(&bytes[..]).unwrap();
        assert_eq!((caffe.iter(), caffe.history.len()), (40, 2));
        assert_eq!(caffe.history[0].shape.as_ref().unwrap().dim, [2, 1]);
        assert_eq!(caffe.history[0].data, [0.5, -1.0]);
    }

    #[test]
    fn a_state_of_caffe_has_no_resume() {
        let state = SolverState {
            iter: Some(3),
            ..Default::default()
        };
        let read = decode(&state.encode_to_vec()).unwrap();
        assert_eq!((read.iteration, read.resume), (3, None));
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let (_, bytes) = written();
        for (bytes, why) in [
            (&bytes[..bytes.len() - 3], "cut short"),
            (&[], "is empty"),
            (b"net: \"train_val.prototxt\"", "is text"),
            (&[0x0a, 0x01, b'n', 0xa2, 0x06, 0x00], "weights of a net"),
        ] {
            let error = decode(bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Format);
            assert!(error.message().contains(why), "{error}");
            assert!(error.help_text().is_some());
        }
    }
}
