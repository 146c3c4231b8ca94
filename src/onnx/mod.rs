//! ONNX, the exchange format of other runtimes: a net with its weights to a model, and back.
//!
//! [`export`](export()) walks the graph of a net in TEST and writes, for each layer, the operators of opset 17 that compute
//! the same; what ONNX cannot say is refused by the layer's name, with the reason. [`import`](import()) reads the operators
//! of such nets into layers and weights, and refuses the rest by the node's name.
//!
//! Source of the format: the ONNX standard's Operators and IR documents.

mod export;
mod import;
mod proto;
#[cfg(test)]
mod tests;

pub use export::{EXPORTED, ExportOptions, Exported, REFUSED, difference, export};
pub use import::{IMPORTED, Imported, import};
pub use proto::{ModelProto, read, write};
