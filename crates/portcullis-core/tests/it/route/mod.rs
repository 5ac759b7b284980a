//! Routes: how a request finds its own, and what calls the endpoint.
mod dispatch;
mod front;
mod hosts;
mod matching;
mod methods;
mod preflight;
mod tables;
