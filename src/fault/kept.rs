//! What a kind keeps from request to request. It belongs to the fault's name: a reload, a pause or
//! another phase makes a new fault of the same name, and the state goes on.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A kind's state.
pub(super) trait State: Any + Send + Sync {
    /// Values that were forgotten for want of room.
    fn evicted(&self) -> u64 {
        0
    }
}

/// The states of one fault, by kind.
#[derive(Default)]
pub struct Memory(HashMap<&'static str, Arc<dyn State>>);

impl Memory {
    /// Values that were forgotten for want of room; each starts anew when it comes back.
    pub fn evicted(&self) -> u64 {
        self.0.values().map(|state| state.evicted()).sum()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// One kind's state. It does not matter to whether two faults do the same.
#[derive(Debug, Default)]
pub(super) struct Kept<T>(OnceLock<Arc<T>>);

impl<T> PartialEq for Kept<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T: Default + State> Kept<T> {
    pub(super) fn get(&self) -> &Arc<T> {
        self.0.get_or_init(Arc::default)
    }

    /// Before the first request: takes over what the fault of this name kept, or begins it.
    pub(super) fn recall(&self, kind: &'static str, memory: &mut Memory) {
        let known = memory.0.get(kind).cloned();
        let known = known.map(|known| known as Arc<dyn Any + Send + Sync>);
        let known = known.and_then(|known| known.downcast::<T>().ok());
        let mine = Arc::clone(self.0.get_or_init(|| known.unwrap_or_default()));
        memory.0.insert(kind, mine);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl State for Vec<u8> {}

    #[test]
    fn who_comes_later_goes_on() {
        let mut memory = Memory::default();
        let (first, second) = (Kept::<Vec<u8>>::default(), Kept::<Vec<u8>>::default());
        first.recall("a", &mut memory);
        second.recall("a", &mut memory);
        assert!(Arc::ptr_eq(first.get(), second.get()));
        let other = Kept::<Vec<u8>>::default();
        other.recall("b", &mut memory);
        assert!(!Arc::ptr_eq(first.get(), other.get()));
        assert_eq!(first, other);
    }
}
