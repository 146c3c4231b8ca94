//! What follows a layer's own loop while the result is at hand: an activation.

use super::{channelwise, gemm::Act, map::map_in_place};

/// x where x > 0, else slope · x; as a product, for of two values the compiler would store only the one that differs, by a
/// branch.
#[inline(always)]
pub fn relu(slope: f32) -> impl Fn(f32) -> f32 + Copy + Sync {
    move |x| x * if x > 0.0 { 1.0 } else { slope }
}

/// y\[i\] = act(y\[i\]).
pub fn activate(y: &mut [f32], act: Act) {
    match act {
        Act::None => {}
        Act::Relu(slope) => map_in_place(y, relu(slope)),
    }
}

/// y\[i\] = act(f(c)(x\[i\])), where x is y itself if there is none; see [`channelwise`].
pub fn channel_map_activate<F: Fn(f32) -> f32>(
    x: Option<&[f32]>,
    y: &mut [f32],
    dims: (usize, usize),
    f: impl Fn(usize) -> F + Sync,
    act: Act,
) {
    match act {
        Act::None => channel_map(x, y, dims, f),
        Act::Relu(slope) => {
            let relu = relu(slope);
            channel_map(x, y, dims, |c| {
                let f = f(c);
                move |x| relu(f(x))
            });
        }
    }
}

fn channel_map<F: Fn(f32) -> f32>(
    x: Option<&[f32]>,
    y: &mut [f32],
    dims: (usize, usize),
    f: impl Fn(usize) -> F + Sync,
) {
    match x {
        Some(x) => channelwise::channel_map_to(x, y, dims, f),
        None => channelwise::channel_map(y, dims, f),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations() {
        let x = [1.0, -1.0, -5.0];
        let mut y = x;
        activate(&mut y, Act::None);
        assert_eq!(y, x);
        activate(&mut y, Act::Relu(0.5));
        assert_eq!(y, [1.0, -0.5, -2.5]);
    }

    #[test]
    fn channels_then_activation() {
        let x = [1.0, -1.0, 1.0, -1.0];
        let times = |c: usize| move |x: f32| (c as f32 + 1.0) * x;
        let mut y = [f32::NAN; 4];
        channel_map_activate(Some(&x), &mut y, (2, 2), times, Act::Relu(0.5));
        assert_eq!(y, [1.0, -0.5, 2.0, -1.0]);
        let mut y = x;
        channel_map_activate(None, &mut y, (2, 2), times, Act::None);
        assert_eq!(y, [1.0, -1.0, 2.0, -2.0]);
    }
}
