//! Luminary's LM3S6965 evaluation board: a Cortex-M3 with an SD card on the SPI bus that it shares with a display.

mod quirks;

use core::convert::Infallible;

use embedded_hal::delay::DelayNs;
use embedded_hal::digital::{self, OutputPin};
use embedded_hal_bus::spi::{ExclusiveDevice, NoDelay};
use embedded_sdmmc::{SdCard, SdCardError as Error};
use esker::device::{AdapterError, SdmmcDevice};
use esker::volume::FormatOptions;

use crate::drivers::pl022::Pl022;
use crate::drivers::register::Register;
use crate::settings::{OnBTree, OnLsm, PAGE};
use quirks::Quirks;

const SSI0: usize = 0x4000_8000;
const CLOCKS_OF_SSI: usize = 0x400F_E104;
const CLOCKS_OF_GPIO: usize = 0x400F_E108;
const PORT_D: usize = 0x4000_7000;
const DIRECTION: usize = 0x400;
const DIGITAL: usize = 0x51C;

type Spi = Quirks<ExclusiveDevice<Pl022, CardSelect, NoDelay>>;

/// What the logger keeps its volume on.
pub type Device = SdmmcDevice<SdCard<Spi, Pause>>;

/// Settings are on a B-tree: what it reads and writes is a block of the card.
pub type Settings = OnBTree;

/// 256 KiB of the card in segments of 16 KiB are for logs; the rest is for settings.
pub const LAYOUT: FormatOptions = FormatOptions {
    volume_id: 0x0E5C_0001,
    segment_size: 16 * 1024,
    pool_size: 256 * 1024,
    reserve: 1,
    block_size: PAGE as u32,
};

/// Or on an LSM tree.
pub type LsmSettings = OnLsm;

/// With tables of 16 KiB.
pub const LSM_LAYOUT: FormatOptions = FormatOptions { block_size: 16 * 1024, ..LAYOUT };

/// Sets up what the device needs, and the card.
///
/// # Safety
/// This runs on that board, and once.
pub unsafe fn device() -> Result<Device, AdapterError<Error>> {
    // SAFETY: these registers are there on this board.
    let register = |address| unsafe { Register::at(address) };
    register(CLOCKS_OF_SSI).raise(1 << 4);
    register(CLOCKS_OF_GPIO).raise(1 << 0 | 1 << 3);
    register(PORT_D + DIRECTION).raise(1);
    register(PORT_D + DIGITAL).raise(1);
    // A GPIO of this family is masked by the address: this one is bit 0 alone.
    let select = CardSelect(register(PORT_D + (1 << 2)));
    // SAFETY: the controller is there, its clock is on, and only this uses it.
    let bus = unsafe { Pl022::new(SSI0, 2) };
    let spi = ExclusiveDevice::new_no_delay(bus, select).unwrap_or_else(|never| match never {});
    SdmmcDevice::new(SdCard::new(Quirks::new(spi), Pause))
}

/// The pin that is low for the card and high for the display.
#[derive(Debug)]
pub struct CardSelect(Register);

impl digital::ErrorType for CardSelect {
    type Error = Infallible;
}

impl OutputPin for CardSelect {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.set(0);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.set(1);
        Ok(())
    }
}

/// Waiting, for a driver that counts its tries: the emulated card is never busy.
#[derive(Debug)]
pub struct Pause;

impl DelayNs for Pause {
    fn delay_ns(&mut self, _: u32) {
        core::hint::spin_loop();
    }
}
