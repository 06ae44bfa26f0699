//! A store on a B-tree: create, open, put, get, delete, scan, checkpoint, close; beside what the image `wal` does. So the
//! difference between the two is what keys and values take.
#![no_std]
#![no_main]

use esker::btree::{BTree, Frame};

type Tree<'a> = BTree<&'a mut [u8], &'a mut [Frame]>;

esker_firmware::store_program!(Tree, |pages, frames| BTree::new(pages, frames));
