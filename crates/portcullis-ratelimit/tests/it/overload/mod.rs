//! What may be under way at once, who is shed, and who waits.
mod adaptive;
mod contract;
mod fairness;
mod metrics;
mod permits;
mod priorities;
mod reload;
mod stack;
mod support;
mod waiting;
