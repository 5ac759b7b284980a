//! The program as a black box: real processes, real sockets, and a back end that sees every byte.
#[cfg(test)]
mod api_keys;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod cache_attacks;
#[cfg(test)]
mod cache_bodies;
#[cfg(test)]
mod cache_replicas;
#[cfg(test)]
mod cache_suite;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod check;
#[cfg(test)]
mod combinations;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod identity_token;
#[cfg(test)]
mod introspection;
#[cfg(test)]
mod jwt;
#[cfg(test)]
mod jwt_attacks;
#[cfg(test)]
mod limit_stores;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod one_path;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod passing;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod resilience;
#[cfg(test)]
mod role_store;
#[cfg(test)]
mod stores;
#[cfg(test)]
mod support;
