//! loom's atomics, made to explore more.
//!
//! loom decides by the last access alone whether two threads' accesses to an atomic may be swapped. A thread's load just
//! before its own compare-and-swap is then the last access, and hides another thread's load before it: the interleavings
//! in which that load comes after the swap are never run. Here every access first writes to a companion that nothing
//! else is read from, relaxed, so that it orders no memory: of two writes loom tries both orders.

pub use loom::sync::atomic::Ordering;

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        #[derive(Default)]
        pub struct $name {
            value: loom::sync::atomic::$name,
            turn: loom::sync::atomic::AtomicU32,
        }

        impl $name {
            pub fn new(value: $value) -> $name {
                $name { value: loom::sync::atomic::$name::new(value), turn: loom::sync::atomic::AtomicU32::new(0) }
            }

            fn turn(&self) -> &loom::sync::atomic::$name {
                self.turn.fetch_add(1, Ordering::Relaxed);
                &self.value
            }

            pub fn load(&self, ordering: Ordering) -> $value {
                self.turn().load(ordering)
            }

            pub fn store(&self, value: $value, ordering: Ordering) {
                self.turn().store(value, ordering);
            }

            pub fn fetch_add(&self, value: $value, ordering: Ordering) -> $value {
                self.turn().fetch_add(value, ordering)
            }

            pub fn fetch_or(&self, value: $value, ordering: Ordering) -> $value {
                self.turn().fetch_or(value, ordering)
            }

            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.turn().compare_exchange(current, new, success, failure)
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);
