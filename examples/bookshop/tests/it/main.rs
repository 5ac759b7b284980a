//! The shop keeps what it prints: started as a user starts it, and driven in process.
#[cfg(test)]
mod accounts;
#[cfg(test)]
mod in_process;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod shop;
#[cfg(test)]
mod started;
