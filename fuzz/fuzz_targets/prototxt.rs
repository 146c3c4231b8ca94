//! Text as a net and as a solver; what is read is printed, too.
#![no_main]

use cortado::{
    events::Silent,
    load::{self, LoadOptions},
    text,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let written = String::from_utf8_lossy(bytes);
    let options = LoadOptions::default();
    if let Ok(file) = load::net_from_text("net", &written, options, &mut Silent) {
        let _ = text::print("NetParameter", &file.net);
    }
    let _ = load::solver_from_text("solver", &written, options, &mut Silent);
});
