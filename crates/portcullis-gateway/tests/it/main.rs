//! The reverse proxy in front of real servers, over every kind of wire.
mod discovery;
mod health;
mod redirect;
mod support;
mod wires;
