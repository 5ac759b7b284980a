//! What it costs that nothing fails: the layers around a client, and the same parts in the gateway.
use super::gateway::{self, Variant};
use crate::args::Args;
use crate::{Result, Workspace};

/// What is said about the upstream; each is counted beside the first.
const UPSTREAMS: [(&str, &str); 4] = [
    ("no retries", "retries = 0"),
    ("retries", "retries = 2"),
    (
        "retries, a limit on each try, a breaker, a bulkhead",
        "retries = 2\ntry_timeout = \"5s\"\nrequests = 1000\nbreaker = { error_rate = 0.5 }",
    ),
    (
        "and a hedge",
        "retries = 2\ntry_timeout = \"5s\"\nrequests = 1000\nbreaker = { error_rate = 0.5 }\nhedge = \"1s\"",
    ),
];

pub(super) fn main(workspace: &Workspace, args: Args) -> Result {
    let variants = UPSTREAMS.map(|(name, upstream)| Variant { name, upstream, ..Variant::PLAIN });
    gateway::beside_layers(workspace, args, "resilience", &variants)
}
