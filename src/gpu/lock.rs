//! Locks that survive a panic of their holder: what they guard here is whole between any two statements.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, whoever panicked while holding it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
