//! Routes: how a request finds its own, and what calls the endpoint.
mod dispatch;
mod front;
mod matching;
mod methods;
mod preflight;
mod tables;
