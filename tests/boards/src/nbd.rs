//! The little of the NBD protocol that QEMU needs to put a board's storage into our hands: fixed newstyle negotiation,
//! reads, writes. See "The NBD protocol", `doc/proto.md` of the NBD project.
//!
//! The server says that it can write single bytes. So QEMU passes on what the emulated part does, unrounded: a block of
//! an SD card, a page program, a sector erase are one write each.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use crate::medium::{Medium, Wrote};

const MAGIC: u64 = 0x4E42_444D_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454F_5054;
const OPTION_REPLY: u64 = 0x0003_E889_0455_65A9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;

const FIXED_NEWSTYLE: u16 = 1;
const NO_ZEROES: u16 = 2;
const HAS_FLAGS: u16 = 1;

const OPTION_INFO: u32 = 6;
const OPTION_GO: u32 = 7;
const OPTION_ABORT: u32 = 2;
const ACK: u32 = 1;
const INFO: u32 = 3;
const UNSUPPORTED: u32 = 0x8000_0001;
const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;

const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const EINVAL: u32 = 22;

/// No request of QEMU is longer.
const MAX: u32 = 32 << 20;

/// Serves `medium` until the other side leaves, and tells `note` of each write what came of it. When the power has gone
/// nothing is answered any more.
pub fn serve(mut stream: UnixStream, medium: &mut Medium, mut note: impl FnMut(Wrote)) -> io::Result<()> {
    if !negotiate(&mut stream, medium.size())? {
        return Ok(());
    }
    let mut data = Vec::new();
    loop {
        let mut request = [0; 28];
        match stream.read_exact(&mut request) {
            // A board that is switched off does not say goodbye.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            result => result?,
        }
        let mut fields = &request[..];
        let (magic, _flags, command) = (take_u32(&mut fields), take_u16(&mut fields), take_u16(&mut fields));
        let (cookie, address, len) = (take_u64(&mut fields), take_u64(&mut fields), take_u32(&mut fields));
        let inside = address.checked_add(len.into()).is_some_and(|end| end <= medium.size()) && len <= MAX;
        if magic != REQUEST || command == WRITE && !inside {
            return Err(io::Error::other("a request that can't be"));
        }
        match command {
            READ if inside => {
                data.resize(len as usize, 0);
                medium.read(address, &mut data)?;
                reply(&mut stream, 0, cookie)?;
                stream.write_all(&data)?;
            }
            WRITE => {
                data.resize(len as usize, 0);
                stream.read_exact(&mut data)?;
                let wrote = medium.write(address, &data)?;
                if wrote == Wrote::All {
                    reply(&mut stream, 0, cookie)?;
                }
                note(wrote);
            }
            DISCONNECT => return Ok(()),
            _ => reply(&mut stream, EINVAL, cookie)?,
        }
    }
}

/// Whether the other side wants to go on.
fn negotiate(stream: &mut UnixStream, size: u64) -> io::Result<bool> {
    stream.write_all(&MAGIC.to_be_bytes())?;
    stream.write_all(&OPTION_MAGIC.to_be_bytes())?;
    stream.write_all(&(FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes())?;
    stream.read_exact(&mut [0; 4])?;
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head)?;
        let mut fields = &head[8..];
        let (option, len) = (take_u32(&mut fields), take_u32(&mut fields));
        if len > 65_536 {
            return Err(io::Error::other("an option that can't be"));
        }
        stream.read_exact(&mut vec![0; len as usize])?;
        match option {
            OPTION_INFO | OPTION_GO => {
                let mut export = INFO_EXPORT.to_be_bytes().to_vec();
                export.extend(size.to_be_bytes());
                export.extend(HAS_FLAGS.to_be_bytes());
                option_reply(stream, option, INFO, &export)?;
                let mut blocks = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
                blocks.extend([1, 4096, MAX].map(u32::to_be_bytes).concat());
                option_reply(stream, option, INFO, &blocks)?;
                option_reply(stream, option, ACK, &[])?;
                if option == OPTION_GO {
                    return Ok(true);
                }
            }
            OPTION_ABORT => {
                option_reply(stream, option, ACK, &[])?;
                return Ok(false);
            }
            _ => option_reply(stream, option, UNSUPPORTED, &[])?,
        }
    }
}

fn option_reply(stream: &mut UnixStream, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let mut bytes = OPTION_REPLY.to_be_bytes().to_vec();
    bytes.extend([option, kind, data.len() as u32].map(u32::to_be_bytes).concat());
    bytes.extend(data);
    stream.write_all(&bytes)
}

fn reply(stream: &mut UnixStream, error: u32, cookie: u64) -> io::Result<()> {
    let mut bytes = [REPLY, error].map(u32::to_be_bytes).concat();
    bytes.extend(cookie.to_be_bytes());
    stream.write_all(&bytes)
}

fn take<const N: usize>(fields: &mut &[u8]) -> [u8; N] {
    let (head, rest) = fields.split_first_chunk().expect("the callers' arrays are long enough");
    *fields = rest;
    *head
}

fn take_u16(fields: &mut &[u8]) -> u16 {
    u16::from_be_bytes(take(fields))
}

fn take_u32(fields: &mut &[u8]) -> u32 {
    u32::from_be_bytes(take(fields))
}

fn take_u64(fields: &mut &[u8]) -> u64 {
    u64::from_be_bytes(take(fields))
}
