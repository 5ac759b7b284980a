//! Serves the notes on port 3000, for the issuer that the environment names.
use std::env;

use portcullis::BoxError;
use portcullis::authn::{JwksUrl, RemoteKeys};
use portcullis::server::Server;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let variable = |name: &str| env::var(name).map_err(|_| format!("say `{name}`: see the README"));
    let keys = RemoteKeys::new(JwksUrl::new(&variable("JWKS")?)?);
    // Before anybody calls, and from then on.
    keys.start(&tokio::runtime::Handle::current());
    let issuer = resource_server::issuer(&variable("ISSUER")?, &variable("AUDIENCE")?, keys)?;
    let app = resource_server::app(issuer)?;
    Server::bind("http://127.0.0.1:3000").drain_on_signals().open()?.serve(app).await?;
    Ok(())
}
