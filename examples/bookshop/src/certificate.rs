//! A certificate of the shop's own, for this machine alone.
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use portcullis::BoxError;
use portcullis::server::Tls;
use rcgen::{CertifiedKey, generate_simple_self_signed};

/// TLS for `localhost`, by a certificate that is made the first time and kept in this folder. Browsers ask once whether it is to be trusted.
///
/// # Errors
/// The folder cannot be written.
pub fn of_this_machine(folder: &Path) -> Result<Tls, BoxError> {
    let (chain, key) = (folder.join("localhost.crt"), folder.join("localhost.key"));
    if !key.exists() {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::write(&chain, cert.pem())?;
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&key)?;
        file.write_all(signing_key.serialize_pem().as_bytes())?;
    }
    Ok(Tls::new().certificate(chain, key).build()?)
}
