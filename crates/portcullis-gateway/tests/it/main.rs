//! The reverse proxy in front of real servers, over every kind of wire.
#[cfg(test)]
mod discovery;
#[cfg(test)]
mod health;
#[cfg(test)]
mod identity_token;
#[cfg(test)]
mod redirect;
#[cfg(test)]
mod support;
#[cfg(test)]
mod wires;
