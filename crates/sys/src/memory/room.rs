//! Room for a length that somebody else has said: an error where it is lacking, and not the end of the process.
//!
//! Two ways to fail, and both are looked at: the allocator may refuse, and then std aborts; and it may give what is not
//! there, and then the kernel kills whoever touches it.

use super::available;
use crate::{OsError, Result};

/// From this length on, asking what is left takes little of the time that reserving it does.
const WORTH_ASKING: u64 = 4 << 20;
/// Left for the page tables and the buffers of everybody else.
const RESERVE: u64 = 8 << 20;

/// Makes room for so many more items in `items`: pushing them does not allocate.
///
/// For copies of what another process says is so long.
///
/// # Errors
/// `OutOfMemory` when the machine or the control group has visibly less left (looked at from 4 MiB on), or the allocator
/// refuses. `items` is then as it was.
///
/// # Examples
/// ```
/// let mut bytes = Vec::new();
/// procession_sys::memory::grow(&mut bytes, 1000)?;
/// bytes.resize(1000, 0_u8);
/// let error = procession_sys::memory::grow(&mut bytes, 1 << 50).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::OutOfMemory);
/// # Ok::<(), procession_sys::OsError>(())
/// ```
pub fn grow<T>(items: &mut Vec<T>, additional: usize) -> Result<()> {
    if additional <= items.capacity() - items.len() {
        return Ok(());
    }
    let whole = items.len().saturating_add(additional).saturating_mul(size_of::<T>());
    if is_absurd(whole as u64) || items.try_reserve_exact(additional).is_err() {
        return Err(OsError::from_errno(format!("allocating {whole} bytes for a copy"), libc::ENOMEM));
    }
    Ok(())
}

/// Whether there is visibly not that much left.
pub(super) fn is_absurd(len: u64) -> bool {
    len >= WORTH_ASKING && len > available().saturating_sub(RESERVE)
}
