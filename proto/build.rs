//! From the `.proto` files to Rust, with cargo alone: no `protoc` of the system is asked.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("proto");
    let folder = root.join("roadstead/metadata/v1");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = ["cluster.proto", "metadata.proto", "peer.proto"].map(|file| folder.join(file));
    let described = protox::compile(files, [root])?;
    tonic_prost_build::configure().compile_fds(described)?;
    Ok(())
}
