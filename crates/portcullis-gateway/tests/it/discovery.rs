//! Where the list of servers comes from, and what becomes of those that leave it.
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use portcullis_core::BoxError;
use portcullis_gateway::{Discover, Discovered, Upstream};
use portcullis_server::Server;
use tokio::sync::watch;

use crate::support::{Folder, in_front_of, serve, telling, until};

#[tokio::test]
async fn a_name_stands_for_its_addresses() {
    let server = serve(Server::bind("http://127.0.0.1:0"), telling);
    let port = server.places[0].rsplit(':').next().unwrap();
    let upstream =
        Upstream::builder("b").server(format!("http://localhost:{port}")).build().unwrap();
    assert!(upstream.servers().is_empty(), "nothing is known yet");
    upstream.start(&tokio::runtime::Handle::current());
    upstream.ready().await;
    let urls: Vec<_> = upstream.servers().into_iter().map(|server| server.url).collect();
    assert!(urls.contains(&format!("http://127.0.0.1:{port}")), "{urls:?}");
    // An address at which nobody listens, such as the one of IPv6, is passed over.
    for _ in 0..10 {
        assert_eq!(in_front_of(&upstream).get("/").send().await.status(), 200);
    }
}

/// Knows the server when it is told, or that there is none to be known.
#[derive(Clone, Debug)]
struct Slow(watch::Receiver<Option<Result<String, String>>>);

impl Discover for Slow {
    fn discover(&self) -> Pin<Box<dyn Future<Output = Result<Discovered, BoxError>> + Send + '_>> {
        let mut told = self.0.clone();
        Box::pin(async move {
            let told = told.wait_for(Option::is_some).await?.clone();
            let url = told.expect("it waited for it")?;
            Ok(Discovered::new(Duration::from_secs(60)).server(url))
        })
    }
}

#[tokio::test]
async fn who_comes_before_the_servers_are_known_waits_for_them() {
    let server = serve(Server::bind("http://127.0.0.1:0"), telling);
    for (told, want) in [(Ok(server.places[0].clone()), 200), (Err("nobody knows".to_owned()), 503)]
    {
        let (tell, slow) = watch::channel(None);
        let upstream = Upstream::builder("b").discover(Slow(slow)).build().unwrap();
        let client = in_front_of(&upstream);
        let mut early = std::pin::pin!(client.get("/").send());
        let waits = tokio::time::timeout(Duration::from_millis(50), early.as_mut()).await;
        assert!(waits.is_err(), "{told:?}");
        tell.send(Some(told.clone())).unwrap();
        assert_eq!(early.await.status(), want, "{told:?}");
        assert_eq!(client.get("/").send().await.status(), want, "{told:?}");
    }
    // Its own time is over sooner.
    let (_tell, slow) = watch::channel(None);
    let upstream = Upstream::builder("b").discover(Slow(slow));
    let upstream = upstream.timeout(Duration::from_millis(50)).build().unwrap();
    assert_eq!(in_front_of(&upstream).get("/").send().await.status(), 503);
}

#[tokio::test]
async fn a_file_is_read_again_and_connections_to_who_stays_are_kept() {
    let folder = Folder::new("file");
    let (one, two) = (
        serve(Server::bind("http://127.0.0.1:0"), telling),
        serve(Server::bind("http://127.0.0.1:0"), telling),
    );
    let list = folder.file("servers", &format!("{}\n", one.places[0]));
    let upstream = Upstream::builder("b").file(&list).build().unwrap();
    upstream.start(&tokio::runtime::Handle::current());
    upstream.ready().await;
    let client = in_front_of(&upstream);
    assert_eq!(client.get("/").send().await.status(), 200);
    assert_eq!(upstream.servers()[0].connections, 1);

    folder.file("servers", &format!("{}\n{} weight=2\n", one.places[0], two.places[0]));
    until(|| upstream.servers().len() == 2).await;
    assert_eq!(upstream.servers()[0].connections, 1, "who stays keeps what it has");

    // A list that cannot be read, or is empty, changes nothing.
    for wrong in ["http://127.0.0.1:1 size=2\n", ""] {
        folder.file("servers", wrong);
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert_eq!(upstream.servers().len(), 2, "{wrong:?}");
    }
}

#[derive(Clone, Debug)]
struct Told(Arc<Mutex<Discovered>>);

impl Discover for Told {
    fn discover(&self) -> Pin<Box<dyn Future<Output = Result<Discovered, BoxError>> + Send + '_>> {
        let told = self.0.lock().unwrap().clone();
        Box::pin(async move { Ok(told) })
    }
}

#[tokio::test]
async fn whoever_leaves_the_list_gets_nothing_more() {
    let (one, two) = (
        serve(Server::bind("http://127.0.0.1:0"), telling),
        serve(Server::bind("http://127.0.0.1:0"), telling),
    );
    let list = |places: &[&str]| {
        let soon = Discovered::new(Duration::ZERO);
        places.iter().fold(soon, |list, place| list.server(*place))
    };
    let told = Told(Arc::new(Mutex::new(list(&[&one.places[0]]))));
    let upstream = Upstream::builder("b").discover(told.clone()).build().unwrap();
    // Begun by the first request.
    let client = in_front_of(&upstream);
    assert_eq!(client.get("/").send().await.status(), 200);
    *told.0.lock().unwrap() = list(&[&two.places[0]]);
    until(|| upstream.servers()[0].url == two.places[0]).await;
    drop(one);
    for _ in 0..5 {
        assert_eq!(client.get("/").send().await.status(), 200);
    }
}
