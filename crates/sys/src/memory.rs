//! Memory that is not the program's heap.

use core::mem::size_of;
use core::ptr::{self, NonNull};

use crate::syscall::{Errno, syscall};

/// Types for which memory full of zeros is a value.
///
/// # Safety
/// All-zero octets must be a valid value, shared among threads.
pub unsafe trait Zeroed: Sync {}

// SAFETY: made of atomic integers; documented so at the type.
unsafe impl Zeroed for aarp_core::state::ProcessState {}
// SAFETY: as above.
unsafe impl Zeroed for aarp_core::pins::PinTable {}
// SAFETY: as above.
unsafe impl Zeroed for aarp_core::mapping::MappingTable {}
// SAFETY: as above.
unsafe impl<const W: usize> Zeroed for aarp_core::slot::Slot<W> {}
// SAFETY: an atomic integer.
unsafe impl Zeroed for core::sync::atomic::AtomicU64 {}
// SAFETY: an array of such values.
unsafe impl<T: Zeroed, const N: usize> Zeroed for [T; N] {}

fn map(size: usize) -> Result<NonNull<u8>, Errno> {
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as usize;
    // SAFETY: a new mapping, at a place that the kernel chooses.
    let start = unsafe { syscall(libc::SYS_mmap, [0, size, protection, flags, usize::MAX, 0]) }?;
    NonNull::new(start as *mut u8).ok_or(Errno(libc::ENOMEM))
}

fn unmap(start: NonNull<u8>, size: usize) {
    // SAFETY: the mapping is one of ours, and nobody uses it any more.
    let _ = unsafe {
        syscall(
            libc::SYS_munmap,
            [start.as_ptr() as usize, size, 0, 0, 0, 0],
        )
    };
}

/// A value in pages of its own, for the rest of the process's life. With
/// `wipe_on_fork` a forked child finds it all zero again, so that no lock which
/// another thread held at the fork stays locked.
///
/// # Errors
/// What mmap(2) or madvise(2) say.
pub fn leak_zeroed<T: Zeroed>(wipe_on_fork: bool) -> Result<&'static T, Errno> {
    let start = map(size_of::<T>())?;
    if wipe_on_fork {
        let advice = libc::MADV_WIPEONFORK as usize;
        // SAFETY: the range is the mapping just made.
        let advised = unsafe {
            syscall(
                libc::SYS_madvise,
                [start.as_ptr() as usize, size_of::<T>(), advice, 0, 0, 0],
            )
        };
        if let Err(error) = advised {
            unmap(start, size_of::<T>());
            return Err(error);
        }
    }
    // SAFETY: pages are aligned for every type, zeroed, and never unmapped.
    Ok(unsafe { start.cast::<T>().as_ref() })
}

/// A copy of `original` in pages of its own, as `change` leaves it, for the rest of
/// the process's life; or what `change` fails with, and nothing is left. The copy
/// passes over no stack.
///
/// # Errors
/// What mmap(2) says.
pub fn leak_changed<T: Copy + Send + Sync, E>(
    original: &T,
    change: impl FnOnce(&mut T) -> Result<(), E>,
) -> Result<Result<&'static T, E>, Errno> {
    let start = map(size_of::<T>())?.cast::<T>();
    // SAFETY: pages are aligned for every type, there is room, and nobody else knows
    // them yet.
    let copy = unsafe {
        ptr::copy_nonoverlapping(original, start.as_ptr(), 1);
        &mut *start.as_ptr()
    };
    match change(copy) {
        Ok(()) => Ok(Ok(copy)),
        Err(error) => {
            unmap(start.cast(), size_of::<T>());
            Ok(Err(error))
        }
    }
}

/// Runs `work` with `N` copies of `fill` and so many octets, which are on no stack.
///
/// # Errors
/// What mmap(2) says.
pub fn with_scratch<T: Copy, const N: usize, R>(
    fill: T,
    octets: usize,
    work: impl FnOnce(&mut [T; N], &mut [u8]) -> R,
) -> Result<R, Errno> {
    let size = size_of::<[T; N]>() + octets;
    let start = map(size)?;
    let items = start.cast::<T>();
    for place in 0..N {
        // SAFETY: inside the mapping, which is aligned for every type.
        unsafe { ptr::write(items.as_ptr().add(place), fill) };
    }
    // SAFETY: initialised just now, and used by nobody else; the octets lie behind
    // the items in the same mapping.
    let (items, octets) = unsafe {
        let octets = start.as_ptr().add(size_of::<[T; N]>());
        (
            start.cast::<[T; N]>().as_mut(),
            core::slice::from_raw_parts_mut(octets, octets_len(size, size_of::<[T; N]>())),
        )
    };
    let result = work(items, octets);
    unmap(start, size);
    Ok(result)
}

/// Runs `work` with `N` values that `make` makes, which are on no stack.
///
/// # Errors
/// What mmap(2) says.
pub fn with_scratch_of<T, const N: usize, R>(
    make: impl Fn() -> T,
    work: impl FnOnce(&mut [T; N]) -> R,
) -> Result<R, Errno> {
    const {
        assert!(!core::mem::needs_drop::<T>());
    }
    let start = map(size_of::<[T; N]>())?;
    let items = start.cast::<T>();
    for place in 0..N {
        // SAFETY: inside the mapping, which is aligned for every type.
        unsafe { ptr::write(items.as_ptr().add(place), make()) };
    }
    // SAFETY: initialised just now, and used by nobody else.
    let result = work(unsafe { start.cast::<[T; N]>().as_mut() });
    unmap(start, size_of::<[T; N]>());
    Ok(result)
}

fn octets_len(size: usize, items: usize) -> usize {
    size - items
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn scratch_is_filled_and_of_its_size() {
        let sum = with_scratch::<u32, 5000, u32>(3, 100, |items, octets| {
            assert_eq!(octets.len(), 100);
            octets.fill(7);
            items.iter().sum()
        });
        assert_eq!(sum, Ok(15_000));
    }

    #[test]
    fn a_forked_child_finds_zeros() {
        let value = leak_zeroed::<AtomicU64>(true).unwrap();
        let kept = leak_zeroed::<AtomicU64>(false).unwrap();
        value.store(5, Ordering::Relaxed);
        kept.store(5, Ordering::Relaxed);
        // SAFETY: the child makes system calls only.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let seen = (value.load(Ordering::Relaxed), kept.load(Ordering::Relaxed));
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(seen != (0, 5))) };
        }
        let mut status = -1;
        // SAFETY: waits for the child just made.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_eq!(value.load(Ordering::Relaxed), 5);
    }
}
