//! ShuffleChannel: channels in G = `group` groups of C/G, dealt out in turn: channel j·G + i of y is channel i·(C/G) + j
//! of x.   dx = dy, dealt back.
//!
//! Shapes: x, y any with two axes or more, equal; axis 1 is the channel, and G divides it. Backward reads nothing.
//! Source: Zhang et al. 2018, "ShuffleNet", figure 2; the layer of Caffe's fork of that name.

use crate::{
    error::{Error, Result},
    kernels::cut::{self, Units},
    layer::{Backward, Forward, Layer, LayerDef, LayerType},
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("ShuffleChannel", |def| {
    Ok(Box::new(ShuffleChannel::new(def)?))
});

struct ShuffleChannel {
    groups: usize,
    channels: usize,
    /// Values of a channel.
    plane: usize,
}

impl ShuffleChannel {
    fn new(def: &LayerDef) -> Result<Self> {
        let param = def.param.shuffle_channel_param.unwrap_or_default();
        if param.group() == 0 {
            return Err(def.invalid("shuffle_channel_param.group", "is 0; it must be at least 1"));
        }
        Ok(Self {
            groups: param.group() as usize,
            channels: 0,
            plane: 0,
        })
    }

    /// Deals the channels of `x`, which lie in `groups` groups.
    fn deal(&self, x: &[f32], y: &mut [f32], groups: usize) {
        let (channels, plane) = (self.channels, self.plane);
        if y.is_empty() {
            return;
        }
        let each = channels / groups;
        let planes = y.len() / plane;
        cut::each(Units(y, plane), planes, 8 * plane, |first, y| {
            for (p, y) in (first..).zip(y.0.chunks_exact_mut(plane)) {
                let (item, c) = (p / channels, p % channels);
                let from = item * channels + c % groups * each + c / groups;
                y.copy_from_slice(&x[from * plane..][..plane]);
            }
        });
    }
}

impl Layer for ShuffleChannel {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let [_, channels, plane @ ..] = x.dims() else {
            return Err(Error::shape(format!(
                "a bottom of shape {x} has no axis of channels"
            )));
        };
        if !channels.is_multiple_of(self.groups) {
            return Err(Error::param(
                "shuffle_channel_param.group",
                format!(
                    "{channels} channels do not divide into {} groups",
                    self.groups
                ),
            ));
        }
        (self.channels, self.plane) = (*channels, plane.iter().product());
        Ok(vec![x.clone()])
    }

    fn forward(&mut self, io: &mut Forward<'_, '_>) -> Result<()> {
        self.deal(io.bottoms[0].data, io.tops[0].data, self.groups);
        Ok(())
    }

    fn backward(&mut self, io: &mut Backward<'_, '_>) -> Result<()> {
        let dy = io.top_diff().data;
        if let Some(dx) = &mut io.bottom_diffs[0] {
            self.deal(dy, dx.data, self.channels / self.groups);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, check_threads, error_of, noise, tensor};

    #[test]
    fn channels_are_dealt_out() {
        let x = tensor(&[1, 6, 1, 1], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let mut bench = Bench::new(
            "type: 'ShuffleChannel' shuffle_channel_param { group: 2 }",
            &[x],
        );
        assert_eq!(bench.forward(), [0., 3., 1., 4., 2., 5.]);
        let dx = bench.backward(&[0., 3., 1., 4., 2., 5.], &[0]).bottoms[0].take();
        assert_eq!(dx.unwrap().data, [0., 1., 2., 3., 4., 5.]);
    }

    #[test]
    fn gradients_threads_and_empty_bottoms() {
        for group in [1, 3, 6] {
            let text = format!("type: 'ShuffleChannel' shuffle_channel_param {{ group: {group} }}");
            check_gradient(&text, &[noise(&[2, 6, 2], 1)], &[0], &[]);
            check_threads(&text, &[noise(&[2, 60, 30, 30], 1)], &[0]);
            for dims in [[0, 6, 2], [2, 6, 0], [2, 0, 2]] {
                let mut bench = Bench::new(&text, &[noise(&dims, 1)]);
                assert!(bench.forward().is_empty());
                bench.backward(&[], &[0]);
            }
        }
    }

    #[test]
    fn errors() {
        for (group, dims, why) in [
            (0, &[1usize, 4][..], "shuffle_channel_param.group: is 0"),
            (3, &[1, 4], "4 channels do not divide into 3 groups"),
            (u32::MAX, &[1, 4], "do not divide"),
            (1, &[4], "no axis of channels"),
        ] {
            let text = format!("type: 'ShuffleChannel' shuffle_channel_param {{ group: {group} }}");
            let error = error_of(&text, &[noise(dims, 1)]);
            assert!(error.contains(why), "{error}");
        }
    }
}
