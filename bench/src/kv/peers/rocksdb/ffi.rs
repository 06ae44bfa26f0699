//! What is used of RocksDB's C interface (`rocksdb/c.h`), which is stable from version to version; it was compared with that
//! of 7.8. Declared here and not by a crate: those that bind to it want a C++ compiler and libclang, and bring a RocksDB of
//! their own.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_uchar};

/// Types that are only pointed to.
macro_rules! opaque {
    ($($name:ident)*) => {
        $(#[repr(C)]
        pub struct $name {
            _private: [u8; 0],
        })*
    };
}

opaque! {
    Db Options TableOptions Cache FilterPolicy ReadOptions WriteOptions FlushOptions IngestOptions WriteBatch Iterator Pinned
    EnvOptions TableWriter
}

/// Where an error's message is put, if there is one; it is the caller's then.
pub type Error = *mut *mut c_char;

/// No compression.
pub const NO_COMPRESSION: c_int = 0;

#[link(name = "rocksdb")]
#[rustfmt::skip] // A function a line.
unsafe extern "C" {
    pub fn rocksdb_free(memory: *mut std::ffi::c_void);

    pub fn rocksdb_open(options: *const Options, name: *const c_char, error: Error) -> *mut Db;
    pub fn rocksdb_close(db: *mut Db);
    pub fn rocksdb_write(db: *mut Db, options: *const WriteOptions, batch: *mut WriteBatch, error: Error);
    pub fn rocksdb_get_pinned(db: *mut Db, options: *const ReadOptions, key: *const c_char, len: usize, error: Error) -> *mut Pinned;
    pub fn rocksdb_create_iterator(db: *mut Db, options: *const ReadOptions) -> *mut Iterator;
    pub fn rocksdb_flush(db: *mut Db, options: *const FlushOptions, error: Error);
    pub fn rocksdb_flush_wal(db: *mut Db, sync: c_uchar, error: Error);
    pub fn rocksdb_compact_range(db: *mut Db, start: *const c_char, start_len: usize, limit: *const c_char, limit_len: usize);
    pub fn rocksdb_property_int(db: *mut Db, name: *const c_char, value: *mut u64) -> c_int;
    pub fn rocksdb_ingest_external_file(db: *mut Db, files: *const *const c_char, count: usize, options: *const IngestOptions, error: Error);

    pub fn rocksdb_options_create() -> *mut Options;
    pub fn rocksdb_options_destroy(options: *mut Options);
    pub fn rocksdb_options_set_create_if_missing(options: *mut Options, value: c_uchar);
    pub fn rocksdb_options_set_write_buffer_size(options: *mut Options, bytes: usize);
    pub fn rocksdb_options_set_max_write_buffer_number(options: *mut Options, count: c_int);
    pub fn rocksdb_options_set_compression(options: *mut Options, compression: c_int);
    pub fn rocksdb_options_set_level_compaction_dynamic_level_bytes(options: *mut Options, value: c_uchar);
    pub fn rocksdb_options_set_block_based_table_factory(options: *mut Options, table: *mut TableOptions);

    pub fn rocksdb_block_based_options_create() -> *mut TableOptions;
    pub fn rocksdb_block_based_options_destroy(table: *mut TableOptions);
    pub fn rocksdb_block_based_options_set_block_cache(table: *mut TableOptions, cache: *mut Cache);
    pub fn rocksdb_block_based_options_set_cache_index_and_filter_blocks(table: *mut TableOptions, value: c_uchar);
    pub fn rocksdb_block_based_options_set_filter_policy(table: *mut TableOptions, policy: *mut FilterPolicy);
    pub fn rocksdb_filterpolicy_create_bloom_full(bits_per_key: f64) -> *mut FilterPolicy;
    pub fn rocksdb_cache_create_lru(bytes: usize) -> *mut Cache;
    pub fn rocksdb_cache_destroy(cache: *mut Cache);

    pub fn rocksdb_readoptions_create() -> *mut ReadOptions;
    pub fn rocksdb_readoptions_destroy(options: *mut ReadOptions);
    pub fn rocksdb_writeoptions_create() -> *mut WriteOptions;
    pub fn rocksdb_writeoptions_destroy(options: *mut WriteOptions);
    pub fn rocksdb_writeoptions_set_sync(options: *mut WriteOptions, value: c_uchar);
    pub fn rocksdb_flushoptions_create() -> *mut FlushOptions;
    pub fn rocksdb_flushoptions_destroy(options: *mut FlushOptions);
    pub fn rocksdb_ingestexternalfileoptions_create() -> *mut IngestOptions;
    pub fn rocksdb_ingestexternalfileoptions_destroy(options: *mut IngestOptions);
    pub fn rocksdb_ingestexternalfileoptions_set_move_files(options: *mut IngestOptions, value: c_uchar);

    pub fn rocksdb_writebatch_create() -> *mut WriteBatch;
    pub fn rocksdb_writebatch_destroy(batch: *mut WriteBatch);
    pub fn rocksdb_writebatch_put(batch: *mut WriteBatch, key: *const c_char, key_len: usize, value: *const c_char, value_len: usize);
    pub fn rocksdb_writebatch_delete(batch: *mut WriteBatch, key: *const c_char, len: usize);

    pub fn rocksdb_pinnableslice_value(slice: *const Pinned, len: *mut usize) -> *const c_char;
    pub fn rocksdb_pinnableslice_destroy(slice: *mut Pinned);

    pub fn rocksdb_iter_destroy(iterator: *mut Iterator);
    pub fn rocksdb_iter_valid(iterator: *const Iterator) -> c_uchar;
    pub fn rocksdb_iter_seek(iterator: *mut Iterator, key: *const c_char, len: usize);
    pub fn rocksdb_iter_next(iterator: *mut Iterator);
    pub fn rocksdb_iter_key(iterator: *const Iterator, len: *mut usize) -> *const c_char;
    pub fn rocksdb_iter_value(iterator: *const Iterator, len: *mut usize) -> *const c_char;
    pub fn rocksdb_iter_get_error(iterator: *const Iterator, error: Error);

    pub fn rocksdb_envoptions_create() -> *mut EnvOptions;
    pub fn rocksdb_envoptions_destroy(options: *mut EnvOptions);
    pub fn rocksdb_sstfilewriter_create(env: *const EnvOptions, options: *const Options) -> *mut TableWriter;
    pub fn rocksdb_sstfilewriter_destroy(writer: *mut TableWriter);
    pub fn rocksdb_sstfilewriter_open(writer: *mut TableWriter, name: *const c_char, error: Error);
    pub fn rocksdb_sstfilewriter_put(writer: *mut TableWriter, key: *const c_char, key_len: usize, value: *const c_char, value_len: usize, error: Error);
    pub fn rocksdb_sstfilewriter_finish(writer: *mut TableWriter, error: Error);
}
