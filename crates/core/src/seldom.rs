//! Parts that few nodes need, and those seldom: they take memory from the first change on.

use std::ops::{Deref, DerefMut};

/// A part with nothing in it.
pub(crate) trait Vacant: Sized + 'static {
    const VACANT: Self;
    /// The one that all share: `&Self::VACANT`, which only a type that is known can promise never to change.
    const SHARED: &'static Self;
}

/// Reads as a vacant one until it is first borrowed to be changed.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub(crate) struct Seldom<T>(Option<Box<T>>);

impl<T> Seldom<T> {
    pub(crate) const fn new() -> Self {
        Self(None)
    }
}

impl<T: Vacant> Deref for Seldom<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::SHARED)
    }
}

impl<T: Vacant> DerefMut for Seldom<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::VACANT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Vacant for Vec<u8> {
        const VACANT: Self = Self::new();
        const SHARED: &'static Self = &Self::VACANT;
    }

    #[test]
    fn takes_memory_with_the_first_change() {
        let mut part: Seldom<Vec<u8>> = Seldom::new();
        assert!(part.is_empty() && part.0.is_none());
        part.push(1);
        assert_eq!(part.as_slice(), [1]);
        assert!(part.0.is_some());
    }
}
