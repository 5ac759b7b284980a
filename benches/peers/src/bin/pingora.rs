//! The smallest proxy on pingora.
use async_trait::async_trait;
use pingora::prelude::{HttpPeer, Opt, ProxyHttp, Result, Server, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;

struct PassOn(String);

#[async_trait]
impl ProxyHttp for PassOn {
    type CTX = ();
    fn new_ctx(&self) {}
    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0.as_str(), false, String::new())))
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    let (listen, upstream) = (words.next().expect("an address"), words.next().expect("an upstream"));
    let conf = ServerConf { threads: 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None::<Opt>, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, PassOn(upstream));
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
