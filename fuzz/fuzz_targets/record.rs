//! A record of a database, as it is stored.
#![no_main]

use cortado::feed::datum::{self, Color};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for color in [Color::AsStored, Color::Color, Color::Gray] {
        if let Ok(sample) = datum::decode(bytes, color) {
            let _ = sample.floats();
        }
    }
});
