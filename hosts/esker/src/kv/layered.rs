//! A device with, maybe, a layer of memory over it that takes all writes.
//!
//! What a store's log says since its last checkpoint is applied before anything can be read, and that may take more room
//! than the pool has. With the layer it is done where nothing may be changed; and what can't be known beforehand (whether
//! a layout is possible, what a salvage would drop) is tried.

use std::collections::BTreeMap;
use std::ops::Range;

use esker::device::{BlockDevice, Geometry};
use esker_linux::{Device, DeviceError};

const PAGE: usize = 4096;

/// What a blank device reads as.
const BLANK: u8 = 0xFF;

/// A device as a store has it.
pub struct Layered<D = Device> {
    geometry: Geometry,
    /// `None`: blank.
    below: Option<D>,
    /// What was written since, in whole pages, by number.
    layer: Option<BTreeMap<u64, Box<[u8; PAGE]>>>,
}

impl<D: BlockDevice<Error = DeviceError>> Layered<D> {
    /// The device itself.
    pub fn plain(device: D) -> Self {
        Self { geometry: device.geometry(), below: Some(device), layer: None }
    }

    /// The device is read, and never written.
    pub fn over(device: D) -> Self {
        Self { layer: Some(BTreeMap::new()), ..Self::plain(device) }
    }

    /// There is no device, only memory for what is written.
    pub fn nowhere(geometry: Geometry) -> Self {
        Self { geometry, below: None, layer: Some(BTreeMap::new()) }
    }

    fn read_below(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), DeviceError> {
        match &mut self.below {
            Some(device) => device.read(address, buffer),
            None => {
                buffer.fill(BLANK);
                Ok(())
            }
        }
    }

    /// The page to be written to, as it is until now.
    fn page(&mut self, number: u64) -> Result<&mut [u8; PAGE], DeviceError> {
        let held = self.layer.as_ref().is_some_and(|layer| layer.contains_key(&number));
        let mut page = Box::new([BLANK; PAGE]);
        if !held {
            let start = number * PAGE as u64;
            let len = (self.geometry.capacity - start).min(PAGE as u64) as usize;
            self.read_below(start, &mut page[..len])?;
        }
        Ok(self.layer.get_or_insert_default().entry(number).or_insert(page))
    }

    fn write_layer(
        &mut self,
        address: u64,
        len: usize,
        bytes: impl Fn(usize) -> u8,
    ) -> Result<(), DeviceError> {
        for (number, of_page, of_range) in parts(address, len) {
            let page = self.page(number)?;
            page[of_page].iter_mut().zip(of_range).for_each(|(byte, at)| *byte = bytes(at));
        }
        Ok(())
    }
}

/// The pages of a range: the number of each, what of it, and what of the range that is.
fn parts(address: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = address + done as u64;
        let from = (at % PAGE as u64) as usize;
        let part = (len - done).min(PAGE - from);
        done += part;
        (part > 0).then(|| (at / PAGE as u64, from..from + part, done - part..done))
    })
}

impl<D: BlockDevice<Error = DeviceError>> BlockDevice for Layered<D> {
    type Error = DeviceError;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), DeviceError> {
        self.read_below(address, buffer)?;
        let Some(layer) = self.layer.as_ref().filter(|layer| !layer.is_empty()) else { return Ok(()) };
        for (number, of_page, of_range) in parts(address, buffer.len()) {
            if let Some(page) = layer.get(&number) {
                buffer[of_range].copy_from_slice(&page[of_page]);
            }
        }
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), DeviceError> {
        match (&self.layer, &mut self.below) {
            (None, Some(device)) => device.write(address, data),
            _ => self.write_layer(address, data.len(), |at| data[at]),
        }
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), DeviceError> {
        match (&self.layer, &mut self.below) {
            (None, Some(device)) => device.erase(range),
            _ if !self.geometry.must_erase() => Ok(()),
            _ => self.write_layer(range.start, (range.end - range.start) as usize, |_| BLANK),
        }
    }

    fn sync(&mut self) -> Result<(), DeviceError> {
        match (&self.layer, &mut self.below) {
            (None, Some(device)) => device.sync(),
            _ => Ok(()),
        }
    }

    fn read_vectored(&mut self, mut address: u64, buffers: &mut [&mut [u8]]) -> Result<(), DeviceError> {
        if let (None, Some(device)) = (&self.layer, &mut self.below) {
            return device.read_vectored(address, buffers);
        }
        for buffer in buffers {
            self.read(address, buffer)?;
            address += buffer.len() as u64;
        }
        Ok(())
    }

    fn write_vectored(&mut self, mut address: u64, data: &[&[u8]]) -> Result<(), DeviceError> {
        if let (None, Some(device)) = (&self.layer, &mut self.below) {
            return device.write_vectored(address, data);
        }
        for data in data {
            self.write(address, data)?;
            address += data.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use esker_linux::{Access, Replace};

    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_is_below() {
        let mut device = Layered::<Device>::nowhere(Geometry::flash(1 << 40, 256, 4096));
        let data: Vec<u8> = (0..10_240_u32).map(|n| n as u8 | 1).collect();
        device.write((1 << 39) + 512, &data).unwrap();
        let mut back = vec![0; 12_288];
        device.read(1 << 39, &mut back).unwrap();
        assert!(back[512..10_752] == data && back[..512] == [BLANK; 512]);
        device.erase((1 << 39) + 4096..(1 << 39) + 8192).unwrap();
        device.read(1 << 39, &mut back).unwrap();
        assert!(back[512..4096] == data[..3584] && back[8192..10_752] == data[7680..]);
        assert!(back[4096..8192].iter().all(|byte| *byte == BLANK));
    }

    #[test]
    fn what_is_below_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev");
        let device = Device::create(&path, Geometry::blocks(10_240, 512), Replace::Blank).unwrap();
        let mut plain = Layered::plain(device);
        plain.write(4096, &[7; 6144]).unwrap();
        plain.sync().unwrap();
        drop(plain);
        let before = std::fs::read(&path).unwrap();

        let device =
            esker_linux::FileDevice::open_with(&path, Access::ReadOnly, Geometry::blocks(0, 512)).unwrap();
        let mut over = Layered::over(device);
        over.write(8192, &[9; 512]).unwrap();
        over.write_vectored(512, &[&[1; 512], &[2; 512]]).unwrap();
        let (mut low, mut high) = ([0; 1536], [0; 2048]);
        over.read_vectored(0, &mut [&mut low]).unwrap();
        over.read(8192, &mut high).unwrap();
        assert!(low[..512] == [0; 512] && low[512..1024] == [1; 512] && low[1024..] == [2; 512]);
        assert!(high[..512] == [9; 512] && high[512..] == [7; 1536]);
        over.sync().unwrap();
        assert!(std::fs::read(&path).unwrap() == before);
    }
}
