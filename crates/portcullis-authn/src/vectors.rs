//! Other people's vectors, which lie in the folder that `PORTCULLIS_VECTORS` names, or beside the project in `shared/vectors`.
use std::path::PathBuf;

/// What a file of vectors says.
pub(crate) fn vectors(file: &str) -> Vec<u8> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("PORTCULLIS_VECTORS").map_or(default, PathBuf::from);
    let path = folder.join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
