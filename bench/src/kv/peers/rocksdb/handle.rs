//! RocksDB's objects, owned: each is destroyed once, and what it hands out is borrowed from it.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{NonNull, null, null_mut};
use std::slice;

use super::ffi;
use crate::Failure;

/// An owner of each type, with what destroys it.
macro_rules! owned {
    ($($name:ident $destroy:ident)*) => {
        $(pub struct $name(NonNull<ffi::$name>);

        impl $name {
            fn own(pointer: *mut ffi::$name) -> Result<Self, Failure> {
                NonNull::new(pointer).map(Self).ok_or_else(|| Failure::new(concat!("no memory for its ", stringify!($name))))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: it came from the function that makes this type, and nobody else has destroyed it.
                unsafe { ffi::$destroy(self.0.as_ptr()) }
            }
        })*
    };
}

owned! {
    Options rocksdb_options_destroy
    TableOptions rocksdb_block_based_options_destroy
    Cache rocksdb_cache_destroy
    ReadOptions rocksdb_readoptions_destroy
    WriteOptions rocksdb_writeoptions_destroy
    FlushOptions rocksdb_flushoptions_destroy
    IngestOptions rocksdb_ingestexternalfileoptions_destroy
    WriteBatch rocksdb_writebatch_destroy
    EnvOptions rocksdb_envoptions_destroy
    TableWriter rocksdb_sstfilewriter_destroy
    Pinned rocksdb_pinnableslice_destroy
    Db rocksdb_close
}

/// Calls what may leave a message.
fn call<T>(function: impl FnOnce(ffi::Error) -> T) -> Result<T, Failure> {
    let mut message: *mut c_char = null_mut();
    let result = function(&raw mut message);
    if message.is_null() {
        return Ok(result);
    }
    // SAFETY: a message ends with a zero, and is the caller's to free, once.
    let words = unsafe {
        let words = CStr::from_ptr(message).to_string_lossy().into_owned();
        ffi::rocksdb_free(message.cast());
        words
    };
    Err(Failure::new(words))
}

fn name(path: &Path) -> Result<CString, Failure> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| Failure::at(path, &error))
}

impl Options {
    /// For so much memory: half of it for blocks, a quarter for the memtable, and another for the one that is being written to
    /// a table. Filters of 10 bits a key, and levels sized from the last one up, as its tuning guide advises.
    pub fn within(memory: usize) -> Result<Self, Failure> {
        // SAFETY: all these have no conditions but live objects of their types. The table takes the filter policy over, and
        // shares the cache; the options copy the table.
        unsafe {
            let options = Self::own(ffi::rocksdb_options_create())?;
            let table = TableOptions::own(ffi::rocksdb_block_based_options_create())?;
            let cache = Cache::own(ffi::rocksdb_cache_create_lru(memory / 2))?;
            let (to, table_to) = (options.0.as_ptr(), table.0.as_ptr());
            ffi::rocksdb_block_based_options_set_block_cache(table_to, cache.0.as_ptr());
            ffi::rocksdb_block_based_options_set_cache_index_and_filter_blocks(table_to, 1);
            let filter = ffi::rocksdb_filterpolicy_create_bloom_full(10.0);
            ffi::rocksdb_block_based_options_set_filter_policy(table_to, filter);
            ffi::rocksdb_options_set_block_based_table_factory(to, table_to);
            ffi::rocksdb_options_set_create_if_missing(to, 1);
            ffi::rocksdb_options_set_write_buffer_size(to, memory / 4);
            ffi::rocksdb_options_set_max_write_buffer_number(to, 2);
            ffi::rocksdb_options_set_level_compaction_dynamic_level_bytes(to, 1);
            ffi::rocksdb_options_set_compression(to, ffi::NO_COMPRESSION);
            Ok(options)
        }
    }
}

impl WriteBatch {
    /// Empty.
    pub fn new() -> Result<Self, Failure> {
        // SAFETY: no conditions.
        Self::own(unsafe { ffi::rocksdb_writebatch_create() })
    }

    /// The bytes are copied.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let ((key, key_len), (value, value_len)) = (parts(key), parts(value));
        // SAFETY: the batch is live, and so are the bytes.
        unsafe { ffi::rocksdb_writebatch_put(self.0.as_ptr(), key, key_len, value, value_len) }
    }

    /// The bytes are copied.
    pub fn delete(&mut self, key: &[u8]) {
        let (key, len) = parts(key);
        // SAFETY: the batch is live, and so are the bytes.
        unsafe { ffi::rocksdb_writebatch_delete(self.0.as_ptr(), key, len) }
    }
}

impl Db {
    /// Opens it, or makes it.
    pub fn open(folder: &Path, options: &Options) -> Result<Self, Failure> {
        let folder = name(folder)?;
        // SAFETY: the options and the name live through the call.
        Self::own(call(|error| unsafe { ffi::rocksdb_open(options.0.as_ptr(), folder.as_ptr(), error) })?)
    }

    /// Writes all of the batch or nothing.
    pub fn write(&mut self, batch: &mut WriteBatch, sync: bool) -> Result<(), Failure> {
        // SAFETY: everything is live through the calls.
        unsafe {
            let options = WriteOptions::own(ffi::rocksdb_writeoptions_create())?;
            ffi::rocksdb_writeoptions_set_sync(options.0.as_ptr(), sync.into());
            call(|error| {
                ffi::rocksdb_write(self.0.as_ptr(), options.0.as_ptr(), batch.0.as_ptr(), error);
            })
        }
    }

    /// Makes what was written without a sync durable.
    pub fn sync(&mut self) -> Result<(), Failure> {
        // SAFETY: it is open.
        call(|error| unsafe { ffi::rocksdb_flush_wal(self.0.as_ptr(), 1, error) })
    }

    /// Writes the memtable to a table, and returns when it is there.
    pub fn flush(&mut self) -> Result<(), Failure> {
        // SAFETY: everything is live through the calls.
        unsafe {
            let options = FlushOptions::own(ffi::rocksdb_flushoptions_create())?;
            call(|error| ffi::rocksdb_flush(self.0.as_ptr(), options.0.as_ptr(), error))
        }
    }

    /// One of its properties that are numbers.
    pub fn property(&self, name: &CStr) -> Result<u64, Failure> {
        let mut value = 0;
        // SAFETY: it is open, the name ends with a zero.
        match unsafe { ffi::rocksdb_property_int(self.0.as_ptr(), name.as_ptr(), &raw mut value) } {
            0 => Ok(value),
            _ => Err(Failure::new(format!("it has no property {}", name.to_string_lossy()))),
        }
    }

    /// Merges everything into the last level.
    pub fn compact(&mut self) {
        // SAFETY: it is open; no limits are all there is.
        unsafe { ffi::rocksdb_compact_range(self.0.as_ptr(), null(), 0, null(), 0) }
    }

    /// Takes a table over; its file is moved.
    pub fn ingest(&mut self, file: &Path) -> Result<(), Failure> {
        let file = name(file)?;
        let files = [file.as_ptr()];
        // SAFETY: everything is live through the calls, and there is one name.
        unsafe {
            let options = IngestOptions::own(ffi::rocksdb_ingestexternalfileoptions_create())?;
            ffi::rocksdb_ingestexternalfileoptions_set_move_files(options.0.as_ptr(), 1);
            call(|error| {
                ffi::rocksdb_ingest_external_file(
                    self.0.as_ptr(),
                    files.as_ptr(),
                    files.len(),
                    options.0.as_ptr(),
                    error,
                );
            })
        }
    }

    /// The value of a key.
    pub fn get(&self, options: &ReadOptions, key: &[u8]) -> Result<Option<Pinned>, Failure> {
        let (key, len) = parts(key);
        // SAFETY: it is open, and everything else lives through the call.
        let found = call(|error| unsafe {
            ffi::rocksdb_get_pinned(self.0.as_ptr(), options.0.as_ptr(), key, len, error)
        })?;
        (!found.is_null()).then(|| Pinned::own(found)).transpose()
    }

    /// What there is from a key on.
    pub fn iterate(&self, options: &ReadOptions, from: &[u8]) -> Result<Iterator<'_>, Failure> {
        let (from, len) = parts(from);
        // SAFETY: it is open, and the iterator borrows it.
        unsafe {
            let iterator = ffi::rocksdb_create_iterator(self.0.as_ptr(), options.0.as_ptr());
            let iterator = NonNull::new(iterator).ok_or_else(|| Failure::new("no memory for an iterator"))?;
            ffi::rocksdb_iter_seek(iterator.as_ptr(), from, len);
            Ok(Iterator { iterator, db: PhantomData })
        }
    }
}

impl ReadOptions {
    /// As they are by default.
    pub fn new() -> Result<Self, Failure> {
        // SAFETY: no conditions.
        Self::own(unsafe { ffi::rocksdb_readoptions_create() })
    }
}

impl Pinned {
    /// The value, in RocksDB's own memory.
    pub fn bytes(&self) -> &[u8] {
        let mut len = 0;
        // SAFETY: it holds so many bytes until it is destroyed.
        unsafe { bytes(ffi::rocksdb_pinnableslice_value(self.0.as_ptr(), &raw mut len), len) }
    }
}

/// A key and its value.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// At a pair, or behind the last one.
pub struct Iterator<'a> {
    iterator: NonNull<ffi::Iterator>,
    db: PhantomData<&'a Db>,
}

impl Iterator<'_> {
    /// The pair it is at, in RocksDB's own memory. `None`: it is behind the last one.
    pub fn pair(&self) -> Result<Option<Pair<'_>>, Failure> {
        let iterator = self.iterator.as_ptr();
        let (mut key_len, mut value_len) = (0, 0);
        // SAFETY: it is live; the bytes stay as they are until it is moved, which needs it exclusively.
        unsafe {
            if ffi::rocksdb_iter_valid(iterator) == 0 {
                call(|error| ffi::rocksdb_iter_get_error(iterator, error))?;
                return Ok(None);
            }
            let key = ffi::rocksdb_iter_key(iterator, &raw mut key_len);
            let value = ffi::rocksdb_iter_value(iterator, &raw mut value_len);
            Ok(Some((bytes(key, key_len), bytes(value, value_len))))
        }
    }

    /// To the next pair. It is at one.
    pub fn advance(&mut self) {
        // SAFETY: it is live; where there is no pair nothing is done.
        unsafe {
            if ffi::rocksdb_iter_valid(self.iterator.as_ptr()) != 0 {
                ffi::rocksdb_iter_next(self.iterator.as_ptr());
            }
        }
    }
}

impl Drop for Iterator<'_> {
    fn drop(&mut self) {
        // SAFETY: nobody else has destroyed it, and the store is still open.
        unsafe { ffi::rocksdb_iter_destroy(self.iterator.as_ptr()) }
    }
}

impl TableWriter {
    /// Writes a table that is no store's yet.
    pub fn create(file: &Path, options: &Options) -> Result<Self, Failure> {
        let file = name(file)?;
        // SAFETY: the writer copies both kinds of options; everything lives through the calls.
        unsafe {
            let env = EnvOptions::own(ffi::rocksdb_envoptions_create())?;
            let writer = Self::own(ffi::rocksdb_sstfilewriter_create(env.0.as_ptr(), options.0.as_ptr()))?;
            call(|error| ffi::rocksdb_sstfilewriter_open(writer.0.as_ptr(), file.as_ptr(), error))?;
            Ok(writer)
        }
    }

    /// The key is greater than those before it.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let ((key, key_len), (value, value_len)) = (parts(key), parts(value));
        // SAFETY: the writer is live, and so are the bytes.
        call(|error| unsafe {
            ffi::rocksdb_sstfilewriter_put(self.0.as_ptr(), key, key_len, value, value_len, error);
        })
    }

    /// Ends the table and syncs it.
    pub fn finish(self) -> Result<(), Failure> {
        // SAFETY: it is live.
        call(|error| unsafe { ffi::rocksdb_sstfilewriter_finish(self.0.as_ptr(), error) })
    }
}

fn parts(bytes: &[u8]) -> (*const c_char, usize) {
    (bytes.as_ptr().cast(), bytes.len())
}

/// # Safety
/// There are so many bytes, for as long as what they are borrowed from says.
unsafe fn bytes<'a>(start: *const c_char, len: usize) -> &'a [u8] {
    // No bytes may be anywhere.
    if len == 0 || start.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(start.cast(), len) }
}
