//! The program of the images that measure a store: the same on each index.

/// Creates or opens a store, puts, gets, deletes, scans, makes a checkpoint and closes, over NOR. `$tree` is the type of its index, with
/// a lifetime, and what follows makes one of pages and frames that are lent.
#[macro_export]
macro_rules! store_program {
    ($tree:ident, |$pages:ident, $frames:ident| $make:expr) => {
        use core::hint::black_box;
        use core::ops::Bound;
        use core::sync::atomic::AtomicU8;

        use esker::store::{Error, Store};
        use esker::volume::Volume;
        use $crate::part::{Nor, NorError};

        $crate::entry!(main);

        fn main() -> ! {
            loop {
                let _ = black_box(run());
            }
        }

        type Disk<'a> = Volume<Nor, &'a mut [u8], 1>;
        type Settings<'a> = Store<$tree<'a>, &'a mut [u8]>;

        const RAM_BYTES: usize = size_of::<Disk<'_>>() + size_of::<Settings<'_>>();

        /// As many bytes as volume and store take beside the memory that is lent to them, so that they show as `.bss`.
        #[used]
        static RAM: [AtomicU8; RAM_BYTES] = [const { AtomicU8::new(0) }; RAM_BYTES];

        #[inline(never)]
        fn run() -> Result<(), Error<NorError>> {
            let mut volume_memory = [0; 256];
            let (mut log_memory, mut pages, mut frames) = ([0; 256], [0; 512], [Frame::default(); 4]);
            let mut bytes = black_box([0; 48]);
            let mut volume = Disk::open(Nor, &mut volume_memory[..])?;
            let ($pages, $frames) = (&mut pages[..], &mut frames[..]);
            let tree = $make;
            let mut store: Settings<'_> = if black_box(false) {
                Store::create(&mut volume, 0, tree, &mut log_memory[..])?
            } else {
                Store::open(&mut volume, tree, &mut log_memory[..])?
            };
            black_box(store.put(&mut volume, &bytes[..8], &bytes[8..])?);
            store.commit(&mut volume)?;
            black_box(store.get(&mut volume, b"key", &mut bytes)?);
            black_box(store.delete(&mut volume, &bytes)?);
            let mut cursor = store.cursor([0; 48]);
            let _ = black_box(store.seek(&mut cursor, Bound::Unbounded));
            while black_box(store.next(&mut volume, &mut cursor, &mut bytes)?).is_some() {
                black_box(cursor.key());
            }
            store.checkpoint(&mut volume)?;
            store.close(&mut volume)?;
            Ok(())
        }
    };
}
