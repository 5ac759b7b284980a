//! What the shop says when it opens.
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use portcullis::RouteTable;
use portcullis::cache::Cached;
use portcullis::ratelimit::Limits;

use crate::demo;
use crate::roles::{DEMO_KEYS, DemoKey, Place};

/// A request worth trying, and what it answers.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// What it shows.
    pub shows: &'static str,
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub path: &'static str,
    /// Whose demo key it carries; a text that is no such name is sent as the key.
    pub key: Option<&'static str>,
    /// The JSON that it sends.
    pub json: Option<&'static str>,
    /// How often it is sent; the answer is the last one's.
    pub times: u32,
    /// The status that it answers.
    pub status: u16,
    /// The problem that it answers.
    pub problem: Option<&'static str>,
}

const GET: Try = Try {
    shows: "",
    method: "GET",
    path: "/books",
    key: None,
    json: None,
    times: 1,
    status: 200,
    problem: None,
};

const fn refused(
    shows: &'static str,
    path: &'static str,
    status: u16,
    problem: &'static str,
) -> Try {
    Try { shows, path, status, problem: Some(problem), ..GET }
}

const ORDER: &str = r#"{"book":7,"quantity":1}"#;

/// The requests that the shop suggests: what works, and one that is refused for each reason.
pub const TRIES: [Try; 23] = [
    Try { shows: "the books of one author", path: "/books?author=austen", ..GET },
    Try { shows: "one book", path: "/books/7", ..GET },
    Try { shows: "again: `cache-status` says that it is kept", path: "/books/7", ..GET },
    Try { shows: "the authors, from a service behind the shop", path: "/catalogue/authors", ..GET },
    Try { shows: "who am I", path: "/me", key: Some("rita"), ..GET },
    Try {
        shows: "order a book",
        method: "POST",
        path: "/orders",
        key: Some("carl"),
        json: Some(ORDER),
        status: 201,
        ..GET
    },
    Try { shows: "the orders that I may see", path: "/orders", key: Some("carl"), ..GET },
    Try { shows: "one of them", path: "/orders/1", key: Some("carl"), ..GET },
    Try { shows: "everybody's orders", path: "/orders/all", key: Some("anna"), ..GET },
    Try {
        shows: "an order of the branch in Leeds",
        method: "POST",
        path: "/orders",
        key: Some("lena"),
        json: Some(ORDER),
        status: 201,
        ..GET
    },
    Try { shows: "who does what in Leeds", path: "/admin/roles", key: Some("mona"), ..GET },
    refused("nobody said who they are", "/orders", 401, "authentication-required"),
    Try {
        key: Some("guessed"),
        ..refused("a key that nobody owns", "/orders", 401, "credentials-invalid")
    },
    Try {
        method: "POST",
        key: Some("rita"),
        json: Some(ORDER),
        ..refused("a reader may not order", "/orders", 403, "permission-denied")
    },
    Try {
        key: Some("yuri"),
        ..refused("to York an order of Leeds is not there", "/orders/2", 404, "order-unknown")
    },
    Try {
        key: Some("lena"),
        ..refused("a clerk manages nobody", "/admin/roles", 403, "permission-denied")
    },
    refused("a path that could be read in two ways", "/books/..%2forders", 400, "target-invalid"),
    refused("no such route", "/films", 404, "route-not-found"),
    Try {
        method: "DELETE",
        ..refused("no such method here", "/books/7", 405, "method-not-allowed")
    },
    refused("no such book: the shop's own problem", "/books/999", 404, "book-unknown"),
    Try {
        method: "POST",
        key: Some("carl"),
        json: Some(ORDER),
        times: 6,
        ..refused("more than five orders a minute", "/orders", 429, "quota-exceeded")
    },
    Try {
        times: 13,
        ..refused(
            "a search costs five of sixty a minute",
            "/books?author=austen",
            429,
            "quota-exceeded",
        )
    },
    Try {
        key: Some("guessed"),
        times: 31,
        ..refused("more than thirty guesses a minute", "/me", 429, "quota-exceeded")
    },
];

impl Try {
    /// The value of the `x-api-key` header.
    pub fn api_key(&self) -> Option<&'static str> {
        let name = self.key?;
        Some(DEMO_KEYS.iter().find(|demo| demo.name == name).map_or(name, |demo| demo.key))
    }

    /// The line to type.
    pub fn curl(&self, shop: &str) -> String {
        let mut line = String::from("curl -i");
        if self.method != "GET" {
            line.push_str(" -X ");
            line.push_str(self.method);
        }
        if self.path.contains("..") {
            line.push_str(" --path-as-is");
        }
        // Writing to a string cannot fail.
        if let Some(key) = self.api_key() {
            _ = write!(line, " -H 'x-api-key: {key}'");
        }
        if let Some(json) = self.json {
            _ = write!(line, " -H 'content-type: application/json' -d '{json}'");
        }
        _ = write!(line, " '{shop}{}'", self.path);
        if self.times > 1 {
            line = format!("for i in $(seq {}); do {line}; done", self.times);
        }
        line
    }
}

/// The address, the routes, the demo keys, and lines worth trying.
pub fn banner(
    shop: SocketAddr,
    pages: SocketAddr,
    metrics: SocketAddr,
    table: &Arc<RouteTable>,
) -> String {
    let mut text = format!(
        "The bookshop is open at http://{shop} (metrics: http://{metrics}, Ctrl-C drains)\nIts pages are at https://localhost:{} (mails are written to the log)\n\n",
        pages.port()
    );
    for route in table.routes() {
        let limits =
            route.options().get::<Limits>().map_or(String::new(), |l| format!(", limit {l}"));
        let cached = route.options().get::<Cached>().map_or("", |_| ", cached");
        _ = writeln!(text, "  {:<24} {}{limits}{cached}", route.to_string(), route.access());
    }
    text.push_str("\nDemo keys:\n");
    for DemoKey { name, key, role, place, plan } in DEMO_KEYS {
        _ = write!(text, "  {key:<25} {name}, {role}");
        _ = match place {
            Place::Shop => Ok(()),
            Place::Branch(branch) => write!(text, " in {branch}"),
            Place::Everywhere => write!(text, " above all branches"),
        };
        _ = writeln!(text, ", plan {plan}");
    }
    _ = writeln!(text, "\nDemo accounts, to log in with the password `{}`:", demo::PASSWORD);
    for (email, branch, role) in demo::PEOPLE {
        _ = writeln!(text, "  {email:<25} {} in {branch}", role.unwrap_or("nobody in particular"));
    }
    text.push_str("\nTry:\n");
    for tried in &TRIES {
        let problem = tried.problem.map_or(String::new(), |problem| format!(" {problem}"));
        _ = writeln!(text, "# {} -> {}{problem}", tried.shows, tried.status);
        _ = writeln!(text, "{}", tried.curl(&format!("http://{shop}")));
    }
    text
}
