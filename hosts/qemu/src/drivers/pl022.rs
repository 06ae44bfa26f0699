//! ARM PrimeCell PL022, an SPI controller: bytes in, bytes out, no interrupts, no DMA.

use core::convert::Infallible;

use embedded_hal::spi::{ErrorType, SpiBus};

use super::register::Register;

const CR0: usize = 0x00;
const CR1: usize = 0x04;
const DR: usize = 0x08;
const SR: usize = 0x0C;
const CPSR: usize = 0x10;

const EIGHT_BITS: u32 = 7;
const ENABLE: u32 = 1 << 1;
const RECEIVED: u32 = 1 << 2;

/// The controller as an [`SpiBus`]: mode 0, most significant bit first.
#[derive(Debug)]
pub struct Pl022 {
    data: Register,
    status: Register,
}

impl Pl022 {
    /// Sets the controller at `base` up for frames of 8 bits, at its input clock divided by `prescale` (even, 2 to 254).
    ///
    /// # Safety
    /// A PL022 with its clock on is at `base`, and nobody else uses it.
    pub unsafe fn new(base: usize, prescale: u8) -> Self {
        // SAFETY: promised by the caller.
        let register = |offset| unsafe { Register::at(base + offset) };
        register(CR1).set(0);
        register(CPSR).set(prescale.into());
        register(CR0).set(EIGHT_BITS);
        register(CR1).set(ENABLE);
        Self { data: register(DR), status: register(SR) }
    }

    fn exchange(&mut self, byte: u8) -> u8 {
        self.data.set(byte.into());
        while self.status.get() & RECEIVED == 0 {}
        self.data.get() as u8
    }
}

impl ErrorType for Pl022 {
    type Error = Infallible;
}

impl SpiBus for Pl022 {
    fn read(&mut self, words: &mut [u8]) -> Result<(), Infallible> {
        for word in words {
            *word = self.exchange(0xFF);
        }
        Ok(())
    }

    fn write(&mut self, words: &[u8]) -> Result<(), Infallible> {
        for word in words {
            self.exchange(*word);
        }
        Ok(())
    }

    fn transfer(&mut self, read: &mut [u8], write: &[u8]) -> Result<(), Infallible> {
        let rest = read.len().min(write.len());
        for (to, from) in read.iter_mut().zip(write) {
            *to = self.exchange(*from);
        }
        self.write(write.get(rest..).unwrap_or_default())?;
        self.read(read.get_mut(rest..).unwrap_or_default())
    }

    fn transfer_in_place(&mut self, words: &mut [u8]) -> Result<(), Infallible> {
        for word in words {
            *word = self.exchange(*word);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        // Each byte was waited for.
        Ok(())
    }
}
