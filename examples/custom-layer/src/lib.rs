//! A layer of one's own, and a shop that uses it.
mod maintenance;
mod shop;

pub use maintenance::{
    Maintenance, MaintenanceExt, MaintenanceLayer, Survives, Switch, UNDER_MAINTENANCE,
};
pub use shop::{DEMO_KEY, shop};
