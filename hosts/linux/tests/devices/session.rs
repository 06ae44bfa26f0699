//! A log on a device, as an application would use it.

use esker::device::BlockDevice;
use esker::volume::{FormatOptions, Volume};
use esker::wal::{self, Log};

/// A volume with one log, open.
pub struct Session<D: BlockDevice> {
    pub volume: Volume<D, Vec<u8>>,
    pub log: Log<Vec<u8>>,
}

/// More than any entry here.
const MEMORY: usize = 16 << 10;

impl<D: BlockDevice> Session<D> {
    pub fn format(device: D, segment_size: u32) -> Result<Self, wal::Error<D::Error>> {
        let options = FormatOptions { volume_id: 7, segment_size, ..FormatOptions::default() };
        let mut volume = Volume::format(device, vec![0; MEMORY], &options)?;
        volume.create_log(0)?;
        Self::with(volume)
    }

    pub fn open(device: D) -> Result<Self, wal::Error<D::Error>> {
        Self::with(Volume::open(device, vec![0; MEMORY])?)
    }

    fn with(mut volume: Volume<D, Vec<u8>>) -> Result<Self, wal::Error<D::Error>> {
        let log = Log::open(&mut volume, 0, vec![0; MEMORY])?;
        Ok(Self { volume, log })
    }

    /// Appends and makes durable.
    pub fn commit(&mut self, payload: &[u8]) -> Result<u64, wal::Error<D::Error>> {
        let offset = self.log.append(&mut self.volume, payload)?;
        self.log.commit(&mut self.volume)?;
        Ok(offset)
    }

    pub fn entries(&mut self) -> Vec<Vec<u8>> {
        let mut bytes = vec![0; 1 << 16];
        (self.log.start()..self.log.end())
            .map(|offset| {
                let entry = self.log.read(&mut self.volume, offset, &mut bytes).unwrap();
                bytes[..entry.len].to_vec()
            })
            .collect()
    }
}
