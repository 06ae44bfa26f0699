//! Devices behind [`embedded_sdmmc::BlockDevice`].

use core::ops::Range;

use embedded_sdmmc::{Block, BlockIdx};

use super::{AdapterError, BlockDevice, Geometry};

/// Bytes in a block, the only size the trait knows.
const BLOCK: u32 = Block::LEN_U32;

/// An SD card (or anything else behind that trait) as a device of 512-byte blocks that may be overwritten.
///
/// The trait moves blocks, not bytes, so everything is copied through one `Block` held here (512 bytes of RAM), and a
/// call of n blocks is n calls of the driver. `sync` does nothing and succeeds: the driver's `write` returns when the
/// card is no longer busy. `erase` does nothing: the trait has no discard.
///
/// The card is to be used by this adapter alone: its capacity is asked once.
#[derive(Debug)]
pub struct SdmmcDevice<B> {
    card: B,
    geometry: Geometry,
    block: Block,
}

impl<B: embedded_sdmmc::BlockDevice> SdmmcDevice<B> {
    /// A device over `card`, which is asked how many blocks it has. A card that says 0 is refused later, by
    /// [`Geometry::check`].
    ///
    /// # Errors
    /// [`AdapterError::Driver`]: the card didn't answer.
    pub fn new(card: B) -> Result<Self, AdapterError<B::Error>> {
        let blocks = card.num_blocks().map_err(AdapterError::Driver)?;
        let capacity = u64::from(blocks.0) * u64::from(BLOCK);
        Ok(Self { card, geometry: Geometry::blocks(capacity, BLOCK), block: Block::new() })
    }

    /// The index of the first block of a call, if it keeps to the rules.
    fn first(&self, address: u64, allowed: bool) -> Result<u32, AdapterError<B::Error>> {
        if !allowed {
            return Err(AdapterError::OutOfBounds);
        }
        u32::try_from(address / u64::from(BLOCK)).map_err(|_| AdapterError::OutOfBounds)
    }
}

impl<B> SdmmcDevice<B> {
    /// The driver.
    pub fn get_ref(&self) -> &B {
        &self.card
    }

    /// The driver, to be used behind the engine's back.
    pub fn get_mut(&mut self) -> &mut B {
        &mut self.card
    }

    /// Gives the driver back.
    pub fn into_inner(self) -> B {
        self.card
    }
}

impl<B: embedded_sdmmc::BlockDevice> BlockDevice for SdmmcDevice<B> {
    type Error = AdapterError<B::Error>;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        let first = self.first(address, self.geometry.allows_read(address, buffer.len()))?;
        for (index, bytes) in (first..).zip(buffer.chunks_exact_mut(Block::LEN)) {
            self.card
                .read(core::slice::from_mut(&mut self.block), BlockIdx(index))
                .map_err(AdapterError::Driver)?;
            bytes.copy_from_slice(&self.block.contents);
        }
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        let first = self.first(address, self.geometry.allows_write(address, data.len()))?;
        for (index, bytes) in (first..).zip(data.chunks_exact(Block::LEN)) {
            self.block.contents.copy_from_slice(bytes);
            self.card
                .write(core::slice::from_ref(&self.block), BlockIdx(index))
                .map_err(AdapterError::Driver)?;
        }
        Ok(())
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), Self::Error> {
        if self.geometry.allows_erase(&range) { Ok(()) } else { Err(AdapterError::OutOfBounds) }
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::cell::{Cell, RefCell};
    use core::fmt;
    use std::vec;
    use std::vec::Vec;

    use embedded_sdmmc::BlockCount;

    use super::*;

    /// A card of `claimed` blocks, of which those below `bytes.len() / 512` exist; panics on what is not inside.
    #[derive(Debug)]
    struct Card {
        bytes: RefCell<Vec<u8>>,
        claimed: u32,
        /// The block whose read or write fails.
        bad: Cell<Option<u32>>,
        sized: Cell<u32>,
        last: Cell<u32>,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct CardError;

    impl fmt::Display for CardError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bad block")
        }
    }

    impl core::error::Error for CardError {}

    impl Card {
        fn new(blocks: u32) -> Self {
            let bytes = RefCell::new(vec![0; blocks as usize * 512]);
            Self { bytes, claimed: blocks, bad: Cell::new(None), sized: Cell::new(0), last: Cell::new(0) }
        }

        fn check(&self, blocks: usize, start: BlockIdx) -> Result<usize, CardError> {
            assert!(blocks > 0, "an empty transfer");
            assert!(u64::from(start.0) + blocks as u64 <= u64::from(self.claimed), "outside the card");
            self.last.set(start.0);
            match self.bad.get() {
                Some(bad) if (start.0..start.0 + blocks as u32).contains(&bad) => Err(CardError),
                _ => Ok(start.0 as usize * 512),
            }
        }
    }

    impl embedded_sdmmc::BlockDevice for Card {
        type Error = CardError;
        fn read(&self, blocks: &mut [Block], start: BlockIdx) -> Result<(), CardError> {
            let at = self.check(blocks.len(), start)?;
            for (block, bytes) in blocks.iter_mut().zip(self.bytes.borrow()[at..].chunks(512)) {
                block.contents.copy_from_slice(bytes);
            }
            Ok(())
        }
        fn write(&self, blocks: &[Block], start: BlockIdx) -> Result<(), CardError> {
            let at = self.check(blocks.len(), start)?;
            for (block, bytes) in blocks.iter().zip(self.bytes.borrow_mut()[at..].chunks_mut(512)) {
                bytes.copy_from_slice(&block.contents);
            }
            Ok(())
        }
        fn num_blocks(&self) -> Result<BlockCount, CardError> {
            self.sized.set(self.sized.get() + 1);
            if self.bad.get() == Some(u32::MAX) { Err(CardError) } else { Ok(BlockCount(self.claimed)) }
        }
    }

    #[test]
    fn the_capacity_is_asked_once_and_may_be_beyond_32_bits() {
        let card = Card { claimed: u32::MAX, ..Card::new(0) };
        let mut device = SdmmcDevice::new(card).unwrap();
        let capacity = u64::from(u32::MAX) * 512;
        assert_eq!(device.geometry(), Geometry::blocks(capacity, 512));
        assert_eq!(device.geometry().check(), Ok(()));
        assert_eq!(device.get_ref().sized.get(), 1);

        device.get_mut().bad.set(Some(u32::MAX - 1));
        assert_eq!(device.read(capacity - 512, &mut [0; 512]), Err(AdapterError::Driver(CardError)));
        assert_eq!(device.get_ref().last.get(), u32::MAX - 1);
        assert_eq!(device.read(capacity, &mut [0; 512]), Err(AdapterError::OutOfBounds));
        assert_eq!(device.get_ref().sized.get(), 1);
    }

    #[test]
    fn a_card_that_does_not_answer_is_an_error_at_once() {
        let card = Card::new(1);
        card.bad.set(Some(u32::MAX));
        assert_eq!(SdmmcDevice::new(card).err(), Some(AdapterError::Driver(CardError)));
    }

    #[test]
    fn writes_and_reads_back_blocks() {
        let mut device = SdmmcDevice::new(Card::new(8)).unwrap();
        let mut data = [0; 1536];
        data[..512].fill(1);
        data[512..1024].fill(2);
        data[1024..].fill(3);
        device.write(1024, &data).unwrap();
        device.write(1024, &[9; 512]).unwrap();
        device.sync().unwrap();
        let mut back = [0; 1536];
        device.read(1024, &mut back).unwrap();
        assert_eq!(back[..512], [9; 512]);
        assert_eq!(back[512..], data[512..]);
        let (mut a, mut b) = ([0; 512], [0; 512]);
        device.read_vectored(2048, &mut [&mut a, &mut b]).unwrap();
        assert_eq!((a, b), ([3; 512], [0; 512]));
        assert_eq!(device.get_ref().bytes.borrow()[..1024], [0; 1024]);
        assert_eq!(device.erase(1024..2560), Ok(()));
        assert_eq!(device.into_inner().bytes.into_inner()[1024..1536], [9; 512]);
    }

    #[test]
    fn what_breaks_the_rules_never_reaches_the_card() {
        let mut device = SdmmcDevice::new(Card::new(8)).unwrap();
        let outside = Err(AdapterError::OutOfBounds);
        assert_eq!(device.read(256, &mut [0; 512]), outside);
        assert_eq!(device.read(0, &mut [0; 100]), outside);
        assert_eq!(device.write(0, &[0; 513]), outside);
        assert_eq!(device.write(3584, &[0; 1024]), outside);
        assert_eq!(device.write(1 << 41, &[0; 512]), outside);
        assert_eq!(device.erase(0..100), outside);
        assert_eq!(device.read(0, &mut []), Ok(()), "nothing to do");
    }

    #[test]
    fn a_bad_block_in_the_middle_is_the_drivers_error() {
        let mut device = SdmmcDevice::new(Card::new(4)).unwrap();
        device.get_ref().bad.set(Some(2));
        let failed = Err(AdapterError::Driver(CardError));
        assert_eq!(device.write(512, &[7; 1536]), failed);
        assert_eq!(device.read(0, &mut [0; 2048]), failed);
        let mut before = [0; 512];
        device.read(512, &mut before).unwrap();
        assert_eq!(before, [7; 512]);
        assert_eq!(device.get_ref().last.get(), 1);
    }
}
