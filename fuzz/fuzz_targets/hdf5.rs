//! HDF5 files: every data set of the first two levels is read.
#![no_main]

use cortado::model_io::hdf5::{File, Group, Object};
use libfuzzer_sys::fuzz_target;

fn walk(file: &File, group: &Group, depth: usize) {
    for name in group.names().take(16) {
        match file.get(group, name) {
            Ok(Some(Object::Dataset(data))) => {
                let _ = data.read();
                let _ = data.raw();
            }
            Ok(Some(Object::Group(inner))) if depth > 0 => walk(file, &inner, depth - 1),
            _ => {}
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = File::from_bytes(bytes.to_vec())
        && let Ok(root) = file.root()
    {
        walk(&file, &root, 2);
    }
});
