//! What `run` keeps: arrays by name, batches one after the other along the first axis.

use std::{collections::BTreeMap, path::Path};

use crate::{
    error::{Error, Result},
    model_io::npz,
    net::Net,
    params::Params,
    tensor::{Shape, Tensor, View},
};

/// Arrays, by the key that they get in the file.
#[derive(Default)]
pub(super) struct Output(BTreeMap<String, Tensor>);

impl Output {
    /// Takes the blobs of a pass: data under their own names and, after backward, `diff/<blob>` and
    /// `grad_param/<layer>/<i>`. `append` puts them behind those of the passes before.
    pub(super) fn take(
        &mut self,
        net: &Net,
        params: &Params,
        wanted: &[String],
        backward: bool,
        append: bool,
    ) -> Result<()> {
        let names = net.blob_names();
        let names = names
            .into_iter()
            .filter(|name| wanted.is_empty() || wanted.iter().any(|w| w == name));
        for name in names {
            if let Some(view) = net.blob(name) {
                self.put(name.to_owned(), view, append)?;
            }
            if let Some(view) = net.diff(name).filter(|_| backward) {
                self.put(format!("diff/{name}"), view, append)?;
            }
        }
        if backward {
            for (layer, i, shape, grad) in gradients(net, params) {
                let key = format!("grad_param/{layer}/{i}");
                self.put(key, View { shape, data: grad }, false)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, key: String, view: View<'_>, append: bool) -> Result<()> {
        let dims = view.shape.dims();
        let Some(there) = self.0.get_mut(&key).filter(|_| append) else {
            let shape = match dims {
                // A scalar of each pass: one axis for the passes.
                [] if append => Shape::new(&[1]),
                _ => view.shape.clone(),
            };
            let data = view.data.to_vec();
            self.0.insert(key, Tensor { shape, data });
            return Ok(());
        };
        let (first, rest) = match dims {
            [] => (1, &[][..]),
            [first, rest @ ..] => (*first, rest),
        };
        if there.shape.dims().get(1..) != Some(rest) {
            return Err(Error::shape(format!(
                "blob '{key}' changed from {} to {} between two batches",
                there.shape, view.shape
            ))
            .help("name the blobs that keep their shape with --blobs"));
        }
        let mut dims = there.shape.dims().to_vec();
        if let Some(n) = dims.first_mut() {
            *n += first;
        }
        there.shape = Shape::checked(&dims)?;
        there.data.extend_from_slice(view.data);
        Ok(())
    }

    /// How many arrays there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes them all.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let arrays = self.0.iter().map(|(key, tensor)| (key, tensor.view()));
        npz::write_npz(path, arrays, false)
    }
}

/// The gradient of each parameter of each layer; of layers of one name, that of the first.
fn gradients<'a>(
    net: &'a Net,
    params: &'a Params,
) -> impl Iterator<Item = (&'a str, usize, &'a Shape, &'a [f32])> {
    let nodes = &net.graph().nodes;
    nodes
        .iter()
        .enumerate()
        .filter(|(i, node)| {
            !nodes[..*i]
                .iter()
                .any(|n| n.name == node.name && !n.params.is_empty())
        })
        .flat_map(move |(_, node)| {
            node.params.iter().enumerate().map(move |(i, &id)| {
                let param = &params[id];
                (&*node.name, i, &param.value.shape, &param.grad[..])
            })
        })
        .filter(|(.., grad)| !grad.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_each_other() {
        let mut output = Output::default();
        let pair = Tensor::new([1, 2], vec![1.0, 2.0]).unwrap();
        let more = Tensor::new([2, 2], vec![3.0, 4.0, 5.0, 6.0]).unwrap();
        let other = Tensor::zeros([1, 3]);
        let loss = Tensor::new([0; 0], vec![7.0]).unwrap();
        output.put("x".into(), pair.view(), true).unwrap();
        output.put("x".into(), more.view(), true).unwrap();
        output.put("loss".into(), loss.view(), true).unwrap();
        output.put("loss".into(), loss.view(), true).unwrap();
        assert_eq!(output.0["x"].shape.dims(), [3, 2]);
        assert_eq!(output.0["x"].data, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(output.0["loss"].shape.dims(), [2]);
        assert!(output.put("x".into(), other.view(), true).is_err());
    }

    #[test]
    fn one_pass_keeps_its_shapes() {
        let mut output = Output::default();
        let loss = Tensor::new([0; 0], vec![7.0]).unwrap();
        output.put("loss".into(), loss.view(), false).unwrap();
        assert_eq!(output.0["loss"].shape.axes(), 0);
    }
}
