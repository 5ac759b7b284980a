//! Tests of core through its public face: each layer around a small application, and what the application sees.
#![cfg(test)]

mod body;
mod body_error;
mod context;
mod edge;
mod guard;
mod problem;
mod route;
mod stack;
mod support;
