//! What the adapters to other crates' traits have in common.

use core::fmt;

/// Why a call to an adapter of another crate's driver failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AdapterError<E> {
    /// The driver's own error.
    Driver(E),
    /// Address or length is outside the device or not a multiple of its unit. The driver was not called.
    OutOfBounds,
}

impl<E: fmt::Debug> fmt::Display for AdapterError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // `Debug` is all that these traits promise of their errors.
            Self::Driver(error) => write!(f, "the driver failed: {error:?}"),
            Self::OutOfBounds => {
                f.write_str("address or length is outside the device or not a multiple of its unit")
            }
        }
    }
}

impl<E: fmt::Debug> core::error::Error for AdapterError<E> {}

/// `address` for a driver that counts in 32 bits, if the call that `allowed` says keeps to the rules.
#[cfg(feature = "embedded-storage")]
pub(super) fn address_32<E>(address: u64, allowed: bool) -> Result<u32, AdapterError<E>> {
    if !allowed {
        return Err(AdapterError::OutOfBounds);
    }
    u32::try_from(address).map_err(|_| AdapterError::OutOfBounds)
}

/// A device's size, cut to the whole blocks that 32-bit addresses reach, its end included.
#[cfg(feature = "embedded-storage")]
pub(super) fn capacity_32(bytes: usize, block: u32) -> u64 {
    let bytes = bytes as u64;
    let reach = u64::from(u32::MAX);
    if bytes <= reach { bytes } else { reach - reach.checked_rem(u64::from(block)).unwrap_or(0) }
}
