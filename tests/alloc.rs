//! The executor plans buffers once: after the first pass, nothing is allocated.

use std::path::Path;

use cortado::{
    events::Silent,
    load::{self, LoadOptions},
    net::{Net, NetOptions},
    params::Params,
    threads,
};

use crate::support::fixtures;

/// Allocations of `passes` passes of a net on one thread, after `passes` to warm up.
fn allocations(net: &Path, passes: usize) -> u64 {
    let file = load::net(net, LoadOptions::default(), &mut Silent).unwrap();
    threads::with_threads(1, || {
        let mut params = Params::new();
        let options = NetOptions {
            backward: true,
            ..NetOptions::default()
        };
        let mut net = Net::new(&file.net, &mut params, &options, &mut Silent).unwrap();
        let mut pass = || {
            params.clear_grads();
            net.forward(&mut params).unwrap();
            net.backward(&mut params).unwrap();
        };
        (0..passes).for_each(|_| pass());
        allocation_counter::measure(|| (0..passes).for_each(|_| pass())).count_total
    })
    .unwrap()
}

/// A layer that multiplies matrices leaves its packing to the `matrixmultiply` crate, which takes a buffer for each product
/// and gives it back; nothing else may allocate.
#[test]
fn a_pass_allocates_nothing() {
    let nets = fixtures().join("nets");
    let count = allocations(&nets.join("every_layer_without_weights.prototxt"), 5);
    assert_eq!(count, 0);
    for net in ["every_layer.prototxt", "facial_keypoints_dummy.prototxt"] {
        let (few, many) = (
            allocations(&nets.join(net), 5),
            allocations(&nets.join(net), 10),
        );
        assert_eq!(2 * few, many, "{net}: allocations grow");
        assert!(few / 5 <= products(net), "{net}: {few} in 5 passes");
    }
}

/// At most so many products of matrices make a pass.
fn products(net: &str) -> u64 {
    match net {
        // One convolution of two groups over three images, forward and backward by its weights, whose first bottom
        // wants no gradient; one inner product with all three.
        "every_layer.prototxt" => 3 * 2 * 2 + 3,
        // Three convolutions over four images, five products an image, in strips.
        _ => 5 * 4 * 12,
    }
}
