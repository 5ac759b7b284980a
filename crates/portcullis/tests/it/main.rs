//! The layers together: what the compiler allows, what the corpora reach, what the leaf refuses.
#[cfg(test)]
mod by_hand;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod observed;
#[cfg(test)]
mod one_path;
#[cfg(test)]
mod problems;
#[cfg(test)]
mod stages;
#[cfg(test)]
mod ui;
