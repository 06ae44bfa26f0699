//! Spansion S25SL / S25FL, SPI NOR flash with pages of 256 bytes and sectors of 64 KiB. Most parts of other makers take
//! the same commands.

use embedded_hal::spi::{Operation, SpiDevice};
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

const WRITE_ENABLE: u8 = 0x06;
const READ_STATUS: u8 = 0x05;
const READ: u8 = 0x03;
const PAGE_PROGRAM: u8 = 0x02;
const SECTOR_ERASE: u8 = 0xD8;

const BUSY: u8 = 1;
/// The part takes no more than this in one program, and wraps around at its end.
const PAGE: u32 = 256;
const SECTOR: u32 = 64 * 1024;
/// Bytes in one read: below what any SPI controller can count.
const READ_CHUNK: usize = 32 * 1024;

/// A part of `CAPACITY` bytes, behind 24-bit addresses: 16 MiB at most.
#[derive(Debug)]
pub struct S25fl<S, const CAPACITY: u32> {
    spi: S,
}

/// Why the part did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashError<E> {
    /// The bus failed.
    Bus(E),
    /// The address is outside, or not a multiple of the unit.
    Address(NorFlashErrorKind),
}

impl<E: core::fmt::Debug> NorFlashError for FlashError<E> {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Bus(_) => NorFlashErrorKind::Other,
            Self::Address(kind) => *kind,
        }
    }
}

impl<S: SpiDevice, const CAPACITY: u32> S25fl<S, CAPACITY> {
    /// The part behind `spi`.
    pub fn new(spi: S) -> Self {
        Self { spi }
    }

    /// A command that changes the part, and the wait until it has.
    fn change(&mut self, command: u8, address: u32, data: &[u8]) -> Result<(), FlashError<S::Error>> {
        self.spi.write(&[WRITE_ENABLE]).map_err(FlashError::Bus)?;
        let head = addressed(command, address);
        let mut operations = [Operation::Write(&head), Operation::Write(data)];
        self.spi.transaction(&mut operations).map_err(FlashError::Bus)?;
        loop {
            let mut status = [0];
            let mut operations = [Operation::Write(&[READ_STATUS]), Operation::Read(&mut status)];
            self.spi.transaction(&mut operations).map_err(FlashError::Bus)?;
            if status[0] & BUSY == 0 {
                return Ok(());
            }
        }
    }
}

fn addressed(command: u8, address: u32) -> [u8; 4] {
    let [_, high, middle, low] = address.to_be_bytes();
    [command, high, middle, low]
}

impl<S: SpiDevice, const CAPACITY: u32> ErrorType for S25fl<S, CAPACITY> {
    type Error = FlashError<S::Error>;
}

impl<S: SpiDevice, const CAPACITY: u32> ReadNorFlash for S25fl<S, CAPACITY> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        check_read(self, offset, bytes.len()).map_err(FlashError::Address)?;
        for (address, chunk) in (offset..).step_by(READ_CHUNK).zip(bytes.chunks_mut(READ_CHUNK)) {
            let head = addressed(READ, address);
            let mut operations = [Operation::Write(&head), Operation::Read(chunk)];
            self.spi.transaction(&mut operations).map_err(FlashError::Bus)?;
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        CAPACITY as usize
    }
}

impl<S: SpiDevice, const CAPACITY: u32> NorFlash for S25fl<S, CAPACITY> {
    /// The part can program single bytes; in words the engine's records lie denser than in anything longer.
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        check_erase(self, from, to).map_err(FlashError::Address)?;
        for sector in (from..to).step_by(SECTOR as usize) {
            self.change(SECTOR_ERASE, sector, &[])?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        check_write(self, offset, bytes.len()).map_err(FlashError::Address)?;
        let (mut address, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let room = (PAGE - address % PAGE) as usize;
            let (page, behind) = rest.split_at(room.min(rest.len()));
            self.change(PAGE_PROGRAM, address, page)?;
            address += page.len() as u32;
            rest = behind;
        }
        Ok(())
    }
}
