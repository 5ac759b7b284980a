//! The layers together: what the compiler allows, what the corpora reach, what the leaf refuses.
mod by_hand;
mod foreign;
mod one_path;
mod problems;
mod stages;
mod ui;
