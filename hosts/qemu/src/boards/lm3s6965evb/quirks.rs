//! Where QEMU's SD card differs from real ones, put right on the way. **Leave this out on a real board.**

use embedded_hal::spi::{ErrorType, Operation, SpiDevice};

const READ_OCR: u8 = 58;
const WRITE_BLOCK: u8 = 24;
const DATA_TOKEN: u8 = 0xFE;

/// The card's [`SpiDevice`], with two corrections:
/// - the answer to CMD58 says "idle" of a card that is ready (its lowest bit);
/// - the byte after the answer to CMD24 is swallowed, so one more goes out before the data token.
#[derive(Debug)]
pub struct Quirks<S> {
    spi: S,
    /// The last command.
    command: u8,
}

impl<S: SpiDevice> Quirks<S> {
    pub fn new(spi: S) -> Self {
        Self { spi, command: 0 }
    }
}

impl<S: ErrorType> ErrorType for Quirks<S> {
    type Error = S::Error;
}

impl<S: SpiDevice> SpiDevice for Quirks<S> {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), S::Error> {
        if let [Operation::Transfer(_, [DATA_TOKEN])] = operations
            && self.command == WRITE_BLOCK
        {
            self.spi.write(&[0xFF])?;
        }
        self.spi.transaction(operations)?;
        match operations {
            [Operation::Write([command, _, _, _, _, _])] if command & 0xC0 == 0x40 => {
                self.command = command & 0x3F;
            }
            [Operation::Transfer([answer], _)] if self.command == READ_OCR && *answer & 0x80 == 0 => {
                *answer &= !1;
            }
            _ => {}
        }
        Ok(())
    }
}
