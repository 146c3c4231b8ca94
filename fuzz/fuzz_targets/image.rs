//! An encoded picture in a record.
#![no_main]

use cortado::{
    feed::datum::{self, Color},
    schema::Datum,
};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|bytes: &[u8]| {
    let record = Datum {
        data: Some(bytes.to_vec()),
        encoded: Some(true),
        ..Datum::default()
    };
    let _ = datum::decode(&record.encode_to_vec(), Color::AsStored);
});
