//! Opens the shop. See the README beside this file's folder.
use std::env;
use std::net::SocketAddr;

use custom_layer::{DEMO_KEY, Switch, shop};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    let here = listener.local_addr()?;
    let app = shop(Switch::default())?;
    #[expect(clippy::print_stdout, reason = "it is what the example is started for")]
    {
        println!("The shop is open at http://{here}. Try, in this order:");
        println!("# open -> 200");
        println!("curl -i 'http://{here}/'");
        println!("# close it -> 204; without the key -> 401 authentication-required");
        println!("curl -i -X PUT -H 'x-api-key: {DEMO_KEY}' 'http://{here}/maintenance'");
        println!("# closed -> 503 under-maintenance, with Retry-After");
        println!("curl -i 'http://{here}/'");
        println!("# a route that survives maintenance -> 200");
        println!("curl -i 'http://{here}/health'");
        println!("# open it again -> 204");
        println!("curl -i -X DELETE -H 'x-api-key: {DEMO_KEY}' 'http://{here}/maintenance'");
    }
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
