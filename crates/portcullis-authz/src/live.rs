//! Roles that change while the application runs.
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::roles::{RoleEdit, RoleError, Roles};

/// Roles that change while the application runs. Clones change together. Whoever decides takes no lock and waits for nobody: from the next decision
/// on, the new roles count.
///
/// ```
/// use portcullis_authz::{AuthorizeLayer, LiveRoles, RoleEdit, Roles};
/// let roles = LiveRoles::new(Roles::builder().role("clerk").permits("orders:read").build()?);
/// let layer = AuthorizeLayer::new(&roles);
/// roles.change(&[RoleEdit::permit("clerk", "orders:write")])?;
/// assert!(roles.current().grants("clerk", "orders:write"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Roles that a database keeps for several replicas are [`StoredRoles`](crate::StoredRoles).
#[derive(Clone)]
pub struct LiveRoles(Arc<Inner>);

struct Inner {
    current: ArcSwap<Roles>,
    /// Nobody could say for too long whether these are still the roles.
    is_stale: AtomicBool,
    /// One change at a time.
    writing: Mutex<()>,
}

impl LiveRoles {
    /// These roles, until they change.
    pub fn new(roles: Roles) -> Self {
        Self(Arc::new(Inner {
            current: ArcSwap::from_pointee(roles),
            is_stale: AtomicBool::new(false),
            writing: Mutex::default(),
        }))
    }
    /// The roles as they are now.
    pub fn current(&self) -> Roles {
        Roles::clone(&self.0.current.load())
    }
    /// Other roles, from the next decision on.
    pub fn replace(&self, roles: Roles) {
        let _one = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.current.store(Arc::new(roles));
    }
    /// Changes the roles, all of it or nothing. What the changes come to is checked, and takes its time where there are many roles and bindings: make many changes at once.
    ///
    /// # Errors
    /// Why a change is refused.
    pub fn change(&self, edits: &[RoleEdit]) -> Result<(), RoleError> {
        let _one = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = self.current().model().changed(edits)?;
        self.0.current.store(Arc::new(Roles::try_from(changed)?));
        Ok(())
    }
    /// Calls `look` with the roles as they are now.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Roles) -> T) -> T {
        look(&self.0.current.load())
    }
    /// Whether nobody could say for too long whether these are still the roles: then nothing is decided by them.
    pub(crate) fn is_stale(&self) -> bool {
        self.0.is_stale.load(Ordering::Relaxed)
    }
    pub(crate) fn set_stale(&self, is_stale: bool) {
        self.0.is_stale.store(is_stale, Ordering::Relaxed);
    }
}

impl From<Roles> for LiveRoles {
    fn from(roles: Roles) -> Self {
        Self::new(roles)
    }
}

impl From<&LiveRoles> for LiveRoles {
    fn from(roles: &LiveRoles) -> Self {
        roles.clone()
    }
}

impl fmt::Debug for LiveRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveRoles").field(&self.current()).finish()
    }
}
