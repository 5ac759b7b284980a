//! The layers around clients, on tokio's paused time.
#[cfg(test)]
mod contract;
#[cfg(test)]
mod hedge;
#[cfg(test)]
mod permits;
#[cfg(test)]
mod retry;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod support;
#[cfg(test)]
mod timeout;
