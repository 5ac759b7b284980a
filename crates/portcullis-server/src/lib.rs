#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
mod admin;
mod caps;
mod clock;
mod connection;
mod control;
mod drain;
mod frames;
mod front;
mod greeting;
mod handover;
mod handshakes;
mod informational;
mod limits;
mod listen;
mod open;
mod pace;
mod proxy_protocol;
mod redress;
mod refusal;
mod registry;
mod request_body;
mod request_line;
mod response_body;
mod rewind;
mod scratch;
mod screen;
mod server;
mod side;
mod stall;
mod stats;
mod stream;
mod streams;
mod tls;
mod vitals;
mod wire;

pub use admin::{Admin, AdminFuture};
pub use limits::Limits;
pub use listen::Listen;
pub use open::{OpenServer, ServeError, Worker};
pub use server::{Handle, Server};
pub use stats::Stats;
pub use tls::{ClientCa, Tls, TlsBuilder};
