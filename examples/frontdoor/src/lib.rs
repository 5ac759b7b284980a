//! A plain tower service behind portcullis's server. See the README beside this file's folder.
pub mod app;
pub mod options;
