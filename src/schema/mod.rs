//! The schema: prost types of `proto/*.proto`, and the descriptors that text is decoded by.
//!
//! Everything that reads or writes Caffe's files agrees through these two and nothing else.

#![allow(clippy::doc_lazy_continuation, clippy::doc_overindented_list_items)]

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

pub mod dialect;

mod generated {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        rustdoc::all,
        reason = "made by prost-build from proto/caffe.proto, whose comments are the documentation"
    )]
    include!(concat!(env!("OUT_DIR"), "/caffe.rs"));
}
mod resume {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        rustdoc::all,
        reason = "made by prost-build from proto/cortado.proto"
    )]
    include!(concat!(env!("OUT_DIR"), "/cortado.rs"));
}

pub use generated::*;
pub use resume::{Cursor, Resume, SolverStateExtra};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(&include_bytes!(concat!(env!("OUT_DIR"), "/schema.bin"))[..])
        .expect("the descriptor set is made by our own build script")
});

/// The descriptor of one of Caffe's messages, by its name without the package: `"NetParameter"`.
///
/// # Panics
/// If the schema has no message of that name; names are literals in our own code.
pub fn descriptor(message: &str) -> MessageDescriptor {
    POOL.get_message_by_name(&format!("caffe.{message}"))
        .unwrap_or_else(|| panic!("proto/caffe.proto has no message {message}"))
}
