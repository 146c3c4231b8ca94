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

#[test]
fn a_pass_allocates_nothing() {
    for net in ["every_layer.prototxt", "facial_keypoints_dummy.prototxt"] {
        let count = allocations(&fixtures().join("nets").join(net), 5);
        assert_eq!(count, 0, "{net}");
    }
}
