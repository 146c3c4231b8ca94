//! Weights of any generation and dialect.
#![no_main]

use cortado::{model_io::caffemodel, schema::dialect};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = caffemodel::decode(bytes);
    for dialect in dialect::DIALECTS {
        let _ = dialect::net(bytes, Some(*dialect));
    }
});
