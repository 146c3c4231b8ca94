//! The executor plans buffers once: after the first pass, nothing is allocated.

use std::path::Path;

use cortado::{
    events::Silent,
    load::{self, LoadOptions, NetFile},
    net::{Net, NetOptions},
    params::Params,
    schema::{NetState, Phase},
    threads,
};

use crate::support::fixtures;

/// Allocations of `passes` passes of a net on one thread, after `passes` to warm up.
fn allocations(net: &Path, passes: usize) -> u64 {
    let file = load::net(net, LoadOptions::default(), &mut Silent).unwrap();
    count(&file, passes, true)
}

fn count(file: &NetFile, passes: usize, backward: bool) -> u64 {
    threads::with_threads(1, || {
        let mut params = Params::new();
        let options = NetOptions {
            backward,
            ..NetOptions::default()
        };
        let mut net = Net::new(&file.net, &mut params, &options, &mut Silent).unwrap();
        let mut pass = || {
            params.clear_grads();
            net.forward(&mut params).unwrap();
            if backward {
                net.backward(&mut params).unwrap();
            }
        };
        (0..passes).for_each(|_| pass());
        allocation_counter::measure(|| (0..passes).for_each(|_| pass())).count_total
    })
    .unwrap()
}

/// Whether matrix products run in tiles of our own, which keep their packing buffers. Elsewhere the `matrixmultiply` crate
/// takes a buffer for each product and gives it back.
fn own_tiles() -> bool {
    #[cfg(target_arch = "x86_64")]
    let own = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    let own = cfg!(target_arch = "aarch64");
    own
}

#[test]
fn a_pass_allocates_nothing() {
    let nets = fixtures().join("nets");
    let without = allocations(&nets.join("every_layer_without_weights.prototxt"), 5);
    assert_eq!(without, 0);
    for net in ["every_layer.prototxt", "facial_keypoints_dummy.prototxt"] {
        let count = allocations(&nets.join(net), 5);
        if own_tiles() {
            assert_eq!(count, 0, "{net}");
        } else {
            let longer = allocations(&nets.join(net), 10);
            assert_eq!(2 * count, longer, "{net}: allocations grow");
        }
    }
}

/// Forward alone, rewritten for TEST: what layers derive from the parameters is derived once.
#[test]
fn a_pass_in_test_allocates_nothing() {
    let net = fixtures().join("nets/every_layer.prototxt");
    let mut file = load::net(&net, LoadOptions::default(), &mut Silent).unwrap();
    file.net.state = Some(NetState {
        phase: Some(Phase::Test as i32),
        ..NetState::default()
    });
    if own_tiles() {
        assert_eq!(count(&file, 5, false), 0);
    }
}
