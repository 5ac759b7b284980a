//! What it costs to know who is calling, and to tell the servers.
use super::gateway::{self, Variant};
use crate::args::Args;
use crate::{Result, Workspace};

const AUTH: &str = "[auth.api_key]\nkeys = [{ id = \"ci\", hash = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\" }]\n\
    [identity_token]\nissuer = \"https://gateway.example\"\nkeys = [\"signing.pem\"]";

/// The key is the word `key`.
const KNOWN: Variant = Variant {
    name: "a key, and a server that is told nothing",
    sections: AUTH,
    upstream: "",
    access: "authenticated",
    header: "x-api-key: key",
};

pub(super) fn main(workspace: &Workspace, args: Args) -> Result {
    let variants = [
        Variant { name: "nobody who is known", ..Variant::PLAIN },
        KNOWN,
        Variant {
            name: "a server that is told in a header",
            upstream: "identity = { subject = \"x-user\" }",
            ..KNOWN
        },
        Variant {
            name: "a server that is told by a token",
            upstream: "identity = { token = \"b\" }",
            ..KNOWN
        },
    ];
    gateway::beside_layers(workspace, args, "tokens", &variants)
}
