//! The SPI controller of Microchip's SmartFusion2: it moves the chip select itself, around a number of frames that it
//! is told beforehand. So it is a [`SpiDevice`], not a bus.

use embedded_hal::spi::{ErrorType, Operation, SpiDevice};

use super::register::Register;

const CONTROL: usize = 0x00;
const FRAME_SIZE: usize = 0x04;
const STATUS: usize = 0x08;
const RECEIVE: usize = 0x10;
const TRANSMIT: usize = 0x14;

const ENABLE: u32 = 1;
const MASTER: u32 = 1 << 1;
const FRAMES_SHIFT: u32 = 8;
const MAX_FRAMES: usize = 0xFFFF;
/// The chip select stays active from the first frame to the last.
const HOLD_SELECT: u32 = 1 << 26;
const BIG_FIFO: u32 = 1 << 29;
const RECEIVE_EMPTY: u32 = 1 << 6;

/// The controller and the one part that it selects.
#[derive(Debug)]
pub struct MssSpi {
    control: Register,
    status: Register,
    receive: Register,
    transmit: Register,
}

/// A transaction was longer than the controller can count: 65,535 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl embedded_hal::spi::Error for TooLong {
    fn kind(&self) -> embedded_hal::spi::ErrorKind {
        embedded_hal::spi::ErrorKind::Other
    }
}

impl MssSpi {
    /// The longest transaction in bytes.
    pub const MAX: usize = MAX_FRAMES;

    /// Sets the controller at `base` up for frames of 8 bits.
    ///
    /// # Safety
    /// Such a controller with its clock on is at `base`, and nobody else uses it.
    pub unsafe fn new(base: usize) -> Self {
        // SAFETY: promised by the caller.
        let register = |offset| unsafe { Register::at(base + offset) };
        let control = register(CONTROL);
        // The size of a frame can be set only while the controller is off.
        control.set(MASTER);
        register(FRAME_SIZE).set(8);
        Self { control, status: register(STATUS), receive: register(RECEIVE), transmit: register(TRANSMIT) }
    }

    fn exchange(&mut self, byte: u8) -> u8 {
        self.transmit.set(byte.into());
        while self.status.get() & RECEIVE_EMPTY != 0 {}
        self.receive.get() as u8
    }
}

impl ErrorType for MssSpi {
    type Error = TooLong;
}

impl SpiDevice for MssSpi {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), TooLong> {
        let frames: usize = operations.iter().map(len).sum();
        if frames > MAX_FRAMES {
            return Err(TooLong);
        }
        self.control.set(MASTER);
        self.control.set(ENABLE | MASTER | (frames as u32) << FRAMES_SHIFT | HOLD_SELECT | BIG_FIFO);
        for operation in operations {
            match operation {
                Operation::Read(words) => words.iter_mut().for_each(|word| *word = self.exchange(0xFF)),
                Operation::Write(words) => words.iter().for_each(|word| {
                    self.exchange(*word);
                }),
                Operation::Transfer(read, write) => {
                    for at in 0..read.len().max(write.len()) {
                        let byte = self.exchange(write.get(at).copied().unwrap_or(0xFF));
                        if let Some(word) = read.get_mut(at) {
                            *word = byte;
                        }
                    }
                }
                Operation::TransferInPlace(words) => {
                    words.iter_mut().for_each(|word| *word = self.exchange(*word));
                }
                Operation::DelayNs(_) => {}
            }
        }
        Ok(())
    }
}

fn len(operation: &Operation<'_, u8>) -> usize {
    match operation {
        Operation::Read(words) | Operation::TransferInPlace(words) => words.len(),
        Operation::Write(words) => words.len(),
        Operation::Transfer(read, write) => read.len().max(write.len()),
        Operation::DelayNs(_) => 0,
    }
}
