//! States of a solver, and mean images, which look much alike.
#![no_main]

use cortado::model_io::{binaryproto, solverstate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = solverstate::decode(bytes);
    let _ = binaryproto::decode(bytes);
});
