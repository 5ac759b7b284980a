//! Requests that a route is for, made up: to find out what two tables do with the same.
use std::net::IpAddr;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request};

use super::matching::{Asked, Condition, HostPattern};
use super::{Found, Methods, Route, RouteTable};
use crate::{ClientAddr, Scheme, Target, TargetRules};

/// A request that a route is for.
#[derive(Clone, Debug)]
pub struct Example {
    method: Method,
    target: Target,
    headers: HeaderMap,
    client: Option<ClientAddr>,
}

impl Example {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }
    /// Host, path and query.
    pub fn target(&self) -> &Target {
        &self.target
    }
}

/// What stands for a method that is none in particular.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];
/// What stands for a parameter, and for the name of a host: nothing that anybody writes.
const ANYTHING: &str = "-any-";

impl Route {
    /// One request for each host and method that the route is for, with whatever else it asks for. Another route of the table may
    /// still come first.
    pub fn examples(&self) -> Vec<Example> {
        let matching = self.matching();
        let path: Vec<_> = self.template().split('/').map(filled).collect();
        let path = path.join("/");
        let (mut headers, mut query, mut client) = (HeaderMap::new(), Vec::new(), None);
        for condition in &matching.conditions {
            match condition {
                Condition::Header { name, value } => {
                    let value = value.as_deref().unwrap_or(ANYTHING);
                    if let Ok(value) = HeaderValue::from_str(value) {
                        headers.append(name.clone(), value);
                    }
                }
                Condition::Query { name, value } => {
                    let value = value.as_deref().unwrap_or(ANYTHING);
                    query.push(format!("{}={}", encoded(name), encoded(value)));
                }
                Condition::Client(networks) => {
                    let inside = networks.first().map(ipnet::IpNet::addr);
                    client = inside.map(|ip: IpAddr| ClientAddr::peer(ip));
                }
            }
        }
        let question = if query.is_empty() { "" } else { "?" };
        let uri = format!("{path}{question}{}", query.join("&"));
        let hosts = if matching.hosts.is_empty() {
            vec![format!("{ANYTHING}.invalid")]
        } else {
            let name = |host: &HostPattern| match host {
                HostPattern::Exact(name) => name.to_string(),
                HostPattern::Below(name) => format!("{ANYTHING}.{name}"),
            };
            matching.hosts.iter().map(name).collect()
        };
        let methods = match self.methods() {
            Methods::Any => METHODS.to_vec(),
            Methods::These(methods) => methods.clone(),
        };
        let targets = hosts.iter().filter_map(|host| {
            let request = Request::builder().uri(uri.as_str()).header(HOST, host).body(()).ok()?;
            Target::of(&request, Scheme::Http, None, &TargetRules::strict()).ok()
        });
        let with_method = |target: Target| {
            let of = |method: &Method| Example {
                method: method.clone(),
                target: target.clone(),
                headers: headers.clone(),
                client,
            };
            methods.iter().map(of).collect::<Vec<_>>()
        };
        targets.flat_map(with_method).collect()
    }
}

impl RouteTable {
    /// Which route gets this request.
    pub fn route_of(self: &Arc<Self>, example: &Example) -> Option<Route> {
        let asked = Asked {
            method: &example.method,
            path: example.target.path(),
            target: Some(&example.target),
            headers: &example.headers,
            client: example.client,
        };
        match self.find(&asked) {
            Found::Route(index) => self.route(index),
            _ => None,
        }
    }
}

/// A segment of a template with something in the places of its parameters.
fn filled(segment: &str) -> String {
    let mut out = String::new();
    let mut rest = segment;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('{') {
            out.push('{');
            rest = after;
            continue;
        }
        out.push_str(ANYTHING);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    out.push_str(&rest.replace("}}", "}"));
    out
}

/// A name or value in a query.
fn encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string never fails.
            _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::{RouteMatch, Routes};

    #[test]
    fn a_table_sends_each_example_where_it_comes_from_unless_another_is_first() {
        let matching = RouteMatch::default()
            .host("*.shop.example")
            .unwrap()
            .header(http::HeaderName::from_static("x-beta"), None)
            .query("a b", Some("ü&="))
            .client_in(["10.0.0.0/8".parse().unwrap()]);
        let routes = Routes::builder()
            .get("/books/{id}/{*rest}", ())
            .public()
            .any("/all", ())
            .matching(matching)
            .public()
            .post("/books/{id}", ())
            .host("a.example")
            .host("b.example")
            .public()
            .get("/{*rest}", ())
            .public()
            .build()
            .unwrap();
        let counts = [1, 7, 2, 1];
        for (route, count) in routes.table().routes().zip(counts) {
            let examples = route.examples();
            assert_eq!(examples.len(), count, "{}", route.template());
            for example in examples {
                let found = routes.table().route_of(&example).unwrap();
                assert_eq!(found.index(), route.index(), "{example:?}");
            }
        }
        let other = Routes::builder().post("/books/{id}", ()).public().build().unwrap();
        let examples: Vec<_> = other.table().routes().flat_map(|route| route.examples()).collect();
        assert_eq!(examples.len(), 1);
        // No host that the first table knows.
        assert!(routes.table().route_of(&examples[0]).is_none());
    }
}
