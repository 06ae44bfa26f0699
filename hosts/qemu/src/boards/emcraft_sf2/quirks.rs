//! Where QEMU's flash differs from real parts, put right on the way. **Leave this out on a real board.**

use embedded_hal::spi::{ErrorType, Operation, SpiDevice};

const PAGE_PROGRAM: u8 = 0x02;
const SECTOR_ERASE: u8 = 0xD8;

/// The flash's [`SpiDevice`]. QEMU's part is never busy: it answers from its own memory, while what was programmed is
/// still on its way to the medium. So after each program and erase this waits for the medium.
#[derive(Debug)]
pub struct Quirks<S> {
    spi: S,
    wait: fn(),
}

impl<S: SpiDevice> Quirks<S> {
    /// `wait` returns when one more program or erase has reached the medium.
    pub fn new(spi: S, wait: fn()) -> Self {
        Self { spi, wait }
    }
}

impl<S: ErrorType> ErrorType for Quirks<S> {
    type Error = S::Error;
}

impl<S: SpiDevice> SpiDevice for Quirks<S> {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), S::Error> {
        self.spi.transaction(operations)?;
        if let [Operation::Write([PAGE_PROGRAM | SECTOR_ERASE, ..]), ..] = operations {
            (self.wait)();
        }
        Ok(())
    }
}
