//! Makes Rust of `proto/library.proto`. No compiler for it need be installed: protox is one in Rust.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let library = protox::compile(["proto/library.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(library)?;
    Ok(())
}
