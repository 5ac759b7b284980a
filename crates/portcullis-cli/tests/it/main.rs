//! The program as a black box: real processes, real sockets, and a back end that sees every byte.
mod cases;
mod check;
mod one_path;
mod passing;
mod support;
