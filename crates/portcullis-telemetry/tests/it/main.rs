//! What a stack tells about its requests.

#[cfg(test)]
mod access_log;
#[cfg(test)]
mod behaviours;
#[cfg(test)]
mod exposition;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod service;
#[cfg(test)]
mod support;
