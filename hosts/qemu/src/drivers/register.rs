//! The one place where hardware is touched.

/// A 32-bit register of a peripheral.
#[derive(Clone, Copy, Debug)]
pub struct Register(*mut u32);

impl Register {
    /// The register at `address`.
    ///
    /// # Safety
    /// There is a register of 32 bits at `address`, and reading or writing it changes no memory that Rust knows of.
    pub const unsafe fn at(address: usize) -> Self {
        Self(core::ptr::with_exposed_provenance_mut(address))
    }

    /// Its value.
    pub fn get(self) -> u32 {
        // SAFETY: who made it promised that it is a register.
        unsafe { self.0.read_volatile() }
    }

    /// Gives it a value.
    pub fn set(self, value: u32) {
        // SAFETY: who made it promised that it is a register.
        unsafe { self.0.write_volatile(value) }
    }

    /// Sets the bits of `mask`.
    pub fn raise(self, mask: u32) {
        self.set(self.get() | mask);
    }
}
