//! What the layers want to know about a route.
use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

/// What one layer wants to know about a route: which limits, which cache rule.
///
/// The crate of the layer owns the type, and an extension trait over [`WithOptions`] that sets it.
pub trait RouteOption: Any + Send + Sync + fmt::Debug {
    /// What the option is called in messages, such as `limit`.
    const NAME: &'static str;
    /// The layer that reads the option, for the message that it is missing. Default: unknown.
    const READ_BY: &'static str = "the layer that reads it";
    /// The names in the option that some layer of the stack must define. Default: none.
    fn names(&self) -> Vec<Arc<str>> {
        Vec::new()
    }
    /// The option in words, for a table of routes. Default: its name, and the names in it.
    fn describe(&self) -> String {
        let names = self.names();
        if names.is_empty() {
            Self::NAME.to_owned()
        } else {
            format!("{}: {}", Self::NAME, names.join(" "))
        }
    }
}

/// The options of one route: at most one of each type, frozen when the table is built.
#[derive(Clone, Default)]
pub struct RouteOptions(Vec<(TypeId, Arc<dyn AnyOption>)>);

/// [`RouteOption`] without its type.
pub(crate) trait AnyOption: Send + Sync + fmt::Debug {
    fn name(&self) -> &'static str;
    fn read_by(&self) -> &'static str;
    fn names(&self) -> Vec<Arc<str>>;
    fn describe(&self) -> String;
    fn as_any(&self) -> &dyn Any;
}

impl<O: RouteOption> AnyOption for O {
    fn name(&self) -> &'static str {
        O::NAME
    }
    fn read_by(&self) -> &'static str {
        O::READ_BY
    }
    fn names(&self) -> Vec<Arc<str>> {
        RouteOption::names(self)
    }
    fn describe(&self) -> String {
        RouteOption::describe(self)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl RouteOptions {
    /// The option of type `O`.
    pub fn get<O: RouteOption>(&self) -> Option<&O> {
        let wanted = TypeId::of::<O>();
        let (_, option) = self.0.iter().find(|(id, _)| *id == wanted)?;
        option.as_any().downcast_ref()
    }
    /// Whether there is no option.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// What each of them says, such as `limit: orders`.
    pub fn describe(&self) -> impl ExactSizeIterator<Item = String> {
        self.0.iter().map(|(_, option)| option.describe())
    }
    pub(crate) fn set<O: RouteOption>(&mut self, option: O) {
        let id = TypeId::of::<O>();
        self.0.retain(|(other, _)| *other != id);
        self.0.push((id, Arc::new(option)));
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TypeId, &dyn AnyOption)> {
        self.0.iter().map(|(id, option)| (*id, &**option))
    }
}

impl fmt::Debug for RouteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(_, option)| (option.name(), option))).finish()
    }
}

/// Something that route options can be added to. Layer crates build their own words on it, such as `.limit("x")`.
pub trait WithOptions: Sized {
    /// The option of type `O`, so far.
    fn option<O: RouteOption>(&self) -> Option<&O>;
    /// Adds `option`, in place of one of the same type.
    #[must_use]
    fn with_option<O: RouteOption>(self, option: O) -> Self;
}
