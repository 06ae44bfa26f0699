//! Finds the system's RocksDB where the feature asks for it, and says how to have it where there is none.

use std::env;
use std::path::Path;
use std::process::Command;

const LIBRARY: &str = "librocksdb.so";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ROCKSDB_LIB_DIR");
    if env::var_os("CARGO_FEATURE_PEERS_ROCKSDB").is_none() {
        return;
    }
    let found = match env::var("ROCKSDB_LIB_DIR") {
        Ok(folder) => {
            println!("cargo::rustc-link-search=native={folder}");
            Path::new(&folder).join(LIBRARY).exists()
        }
        Err(_) => is_installed(),
    };
    if !found {
        // Checking the code works without it; linking will fail, and this stands above that.
        println!(
            "cargo::warning=`peers-rocksdb` needs RocksDB's library to link: on Debian and Ubuntu `apt-get install \
             librocksdb-dev`, elsewhere set ROCKSDB_LIB_DIR to the folder of {LIBRARY}"
        );
    }
}

/// Whether the linker finds it: the C compiler knows where that looks.
fn is_installed() -> bool {
    let asked = Command::new("cc").arg(format!("-print-file-name={LIBRARY}")).output();
    // It answers with a path, or with the name alone.
    asked.is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).trim().contains('/'))
}
