//! The front door as an operator has it: real processes, signals, sockets.
#[cfg(test)]
mod restarts;
