//! Compiles `proto/*.proto` with protox (no `protoc` needed) into prost types and one descriptor set.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let files = ["caffe.proto", "cortado.proto", "event.proto", "onnx.proto"];
    let descriptors = protox::compile(files, ["proto"])?;
    fs::write(out.join("schema.bin"), descriptors.encode_to_vec())?;
    prost_build::Config::new()
        .type_attribute(".", "#[allow(missing_docs)]")
        .compile_fds(descriptors)?;
    Ok(())
}
