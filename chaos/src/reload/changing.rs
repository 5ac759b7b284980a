//! A file of which everything that may change does: routes, keys, roles, limits, the certificate (R2).
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::failure::{Failure, Result};

/// The key that is good in every file.
pub(super) const CONSTANT: &str = "the-key-of-all";

/// The key that a file brings. The next one knows it too, and the one behind that no longer.
pub(super) fn key(number: u64) -> String {
    format!("the-key-of-{number}")
}

fn hash(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string never fails.
        _ = write!(text, "{byte:02x}");
        text
    })
}

/// A file whose number is in the path that the back end sees, in a header of the answer, and in the permission that `/mine` asks for: what is
/// authorized by one file and forwarded by another shows. The route of the tunnel never changes.
pub(super) fn numbered(backend: SocketAddr, number: u64) -> String {
    let key = |id: &str, key: &str| {
        format!("{{ id = \"{id}\", hash = \"{}\", roles = [\"user\"] }}", hash(key))
    };
    let keys = [
        key("all", CONSTANT),
        key(&format!("n{number}"), &self::key(number)),
        key(&format!("n{}", number.wrapping_sub(1)), &self::key(number.wrapping_sub(1))),
    ];
    let route = |path: &str, access: &str| {
        format!(
            "[[routes]]\nmatch = {{ path = \"{path}\" }}\naccess = {access}\nto = \"b\"\nrewrite = \"/{number}\"\n\
             limits = [\"most\"]\nresponse_headers = {{ x-config = \"{number}\" }}\n"
        )
    };
    format!(
        "[upstreams.b]\nservers = [\"http://{backend}\"]\ntimeout = \"{}s\"\n\
         [upstreams.tunnels]\nservers = [\"http://{backend}\"]\n\
         [auth.api_key]\nkeys = [{}]\n[roles.user]\npermissions = [\"file-{number}:use\"]\n\
         [limits.most]\nrate = \"{}/s\"\nkey = \"address\"\n{}{}\
         [[routes]]\nmatch = {{ path = \"/tunnel\" }}\naccess = \"public\"\nto = \"tunnels\"\n",
        number + 1,
        keys.join(", "),
        1_000_000 + number,
        route("/", "\"public\""),
        route("/mine", &format!("{{ permission = \"file-{number}:use\" }}")),
    )
}

/// Two certificates, of which the server has now the one and now the other.
pub(super) struct Certificates {
    both: [CertifiedKey<KeyPair>; 2],
    chain: PathBuf,
    key: PathBuf,
}

impl Certificates {
    pub(super) fn new() -> Result<Self> {
        let one = || generate_simple_self_signed(["localhost".to_owned()]);
        let wrong = |error| Failure::new(format!("no certificate: {error}"));
        let both = [one().map_err(wrong)?, one().map_err(wrong)?];
        let file = |end| format!("portcullis-chaos-{}.{end}", std::process::id());
        let dir = std::env::temp_dir();
        let certificates = Self { both, chain: dir.join(file("pem")), key: dir.join(file("key")) };
        certificates.write(0)?;
        Ok(certificates)
    }
    fn of(&self, number: u64) -> &CertifiedKey<KeyPair> {
        let [even, odd] = &self.both;
        if number.is_multiple_of(2) { even } else { odd }
    }
    /// Puts that of this number where the server reads it.
    pub(super) fn write(&self, number: u64) -> Result {
        std::fs::write(&self.key, self.of(number).signing_key.serialize_pem())?;
        Ok(std::fs::write(&self.chain, self.of(number).cert.pem())?)
    }
    /// What the file says about them.
    pub(super) fn keys(&self) -> String {
        let (chain, key) = (self.chain.display(), self.key.display());
        format!("certs = [{{ cert = \"{chain}\", key = \"{key}\" }}]\n")
    }
    /// Connects, and trusts only the certificate of this number; or both.
    pub(super) async fn connect(
        &self,
        to: SocketAddr,
        number: Option<u64>,
    ) -> Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let trusted: Vec<_> = match number {
            Some(number) => vec![self.of(number)],
            None => self.both.iter().collect(),
        };
        for certified in trusted {
            let added = roots.add(certified.cert.der().clone());
            added.map_err(|error| Failure::new(error.to_string()))?;
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name =
            ServerName::try_from("localhost").map_err(|error| Failure::new(error.to_string()))?;
        let stream = TcpStream::connect(to).await?;
        Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.chain));
        drop(std::fs::remove_file(&self.key));
    }
}
